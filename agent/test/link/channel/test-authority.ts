import 'reflect-metadata';
import { createHash, randomBytes, webcrypto } from 'node:crypto';
import { isIP, type AddressInfo, type Socket } from 'node:net';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto);

const CURVE = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

export interface Served {
  readonly cert: string;
  readonly key: string;
}

export interface LeafOptions {
  readonly names?: readonly string[];
  readonly from?: number;
  readonly until?: number;
  readonly usage?: 'server' | 'client';
}

/** Makes certificates as a control plane does, with whatever is wrong that a test asks for. */
export interface TestAuthority {
  readonly pem: string;
  readonly pin: string;
  readonly certificate: x509.X509Certificate;
  readonly privateKey: webcrypto.CryptoKey;
  /** Its certificate by another authority: a chain of two. */
  vouchedForBy(other: TestAuthority): Promise<string>;
  issue(options?: LeafOptions): Promise<Served>;
}

export async function createTestAuthority(
  name: string,
  untilMs = Date.now() + 10 * 365 * DAY_MS,
): Promise<TestAuthority> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const extensions = [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
  ];
  const validity = { notBefore: new Date(0), notAfter: new Date(untilMs) };
  const serialNumber = () => `01${randomBytes(8).toString('hex')}`;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=${name}`,
    ...validity,
    keys,
    signingAlgorithm: SIGNATURE,
    extensions,
  });
  return {
    pem: certificate.toString('pem'),
    pin: createHash('sha256').update(Buffer.from(certificate.publicKey.rawData)).digest('base64url'),
    certificate,
    privateKey: keys.privateKey,
    async vouchedForBy(other) {
      const cross = await x509.X509CertificateGenerator.create({
        serialNumber: serialNumber(),
        subject: certificate.subject,
        issuer: other.certificate.subject,
        ...validity,
        publicKey: certificate.publicKey,
        signingKey: other.privateKey,
        signingAlgorithm: SIGNATURE,
        extensions,
      });
      return cross.toString('pem');
    },
    async issue({
      names = ['127.0.0.1'],
      from = Date.now() - DAY_MS,
      until = Date.now() + DAY_MS,
      usage = 'server',
    } = {}) {
      const own = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
      const leaf = await x509.X509CertificateGenerator.create({
        serialNumber: serialNumber(),
        subject: 'CN=server',
        issuer: certificate.subject,
        notBefore: new Date(from),
        notAfter: new Date(until),
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: SIGNATURE,
        extensions: [
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[`${usage}Auth`]]),
          new x509.SubjectAlternativeNameExtension(
            names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const),
          ),
        ],
      });
      const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', own.privateKey);
      return { cert: leaf.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') };
    },
  };
}

/** A TLS server on a free port; counts what it was sent after the handshake. */
export async function serveTls(
  options: TlsOptions,
  onSocket: (socket: TLSSocket) => void = () => undefined,
): Promise<{ url: URL; sockets: Set<Socket>; receivedBytes: () => number; close: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  let receivedBytes = 0;
  const server = createServer(options, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (part: Buffer) => (receivedBytes += part.length));
    onSocket(socket);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: new URL(`mqtts://127.0.0.1:${(server.address() as AddressInfo).port}`),
    sockets,
    receivedBytes: () => receivedBytes,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
