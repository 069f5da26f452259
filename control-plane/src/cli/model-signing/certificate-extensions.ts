import type { X509Certificate } from 'node:crypto';

/** The extensions that decide what a certificate may be used for (RFC 5280, section 4.2.1). */
export interface CertificateExtensions {
  /** Bit 0 of keyUsage; undefined where there is no keyUsage. */
  readonly digitalSignature: boolean | undefined;
  /** Bit 5 of keyUsage. */
  readonly certificateSigning: boolean | undefined;
  readonly codeSigning: boolean;
  readonly authority: boolean;
  /** Most intermediate certificates below this one; undefined means any number. */
  readonly pathLength: number | undefined;
  /** Object identifiers, as hex of their contents, of critical extensions that nothing here understands. */
  readonly unknownCritical: readonly string[];
}

const BASIC_CONSTRAINTS = '551d13';
const KEY_USAGE = '551d0f';
const EXTENDED_KEY_USAGE = '551d25';
const SUBJECT_ALTERNATIVE_NAME = '551d11';
const UNDERSTOOD = new Set([BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, SUBJECT_ALTERNATIVE_NAME]);
/** 1.3.6.1.5.5.7.3.3 */
const CODE_SIGNING = '2b06010505070303';

const TAG = { boolean: 0x01, integer: 0x02, bitString: 0x03, extensions: 0xa3, sequence: 0x30 } as const;

interface Element {
  readonly tag: number;
  readonly contents: Buffer;
}

/** The DER elements of `bytes`, one level deep (X.690, section 8.1). */
function elementsOf(bytes: Buffer): Element[] {
  const elements: Element[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes.readUInt8(at);
    const short = bytes.readUInt8(at + 1);
    const longBytes = short < 0x80 ? 0 : short & 0x7f;
    const length = longBytes === 0 ? short : bytes.readUIntBE(at + 2, longBytes);
    const from = at + 2 + longBytes;
    elements.push({ tag, contents: bytes.subarray(from, from + length) });
    at = from + length;
  }
  return elements;
}

const inside = (element: Element | undefined): Element[] => (element ? elementsOf(element.contents) : []);

/** @throws RangeError where the inside of an extension is no DER: node:crypto does not look there */
export function extensionsOf(certificate: X509Certificate): CertificateExtensions {
  const [toBeSigned] = inside(elementsOf(certificate.raw)[0]);
  const [list] = inside(inside(toBeSigned).find(({ tag }) => tag === TAG.extensions));
  const byId = new Map<string, Element[]>();
  const unknownCritical: string[] = [];
  for (const extension of inside(list)) {
    const [id, ...rest] = inside(extension);
    const name = id?.contents.toString('hex') ?? '';
    const critical = rest[0]?.tag === TAG.boolean && rest[0].contents[0] !== 0;
    if (critical && !UNDERSTOOD.has(name)) unknownCritical.push(name);
    byId.set(name, inside(rest.at(-1)));
  }
  const usage = byId.get(KEY_USAGE)?.[0]?.contents;
  const usageBit = (bit: number) => usage && ((usage[1] ?? 0) & (0x80 >> bit)) !== 0;
  const constraints = inside(byId.get(BASIC_CONSTRAINTS)?.[0]);
  const pathLength = constraints.find(({ tag }) => tag === TAG.integer)?.contents;
  return {
    digitalSignature: usageBit(0),
    certificateSigning: usageBit(5),
    codeSigning: inside(byId.get(EXTENDED_KEY_USAGE)?.[0]).some((id) => id.contents.toString('hex') === CODE_SIGNING),
    authority: constraints.some(({ tag, contents }) => tag === TAG.boolean && contents[0] !== 0),
    pathLength: pathLength && pathLength.readUIntBE(0, Math.min(pathLength.length, 6)),
    unknownCritical,
  };
}
