import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { createSecretFile } from '../secret-file.js';
import { AuthorityError } from './errors.js';
import { createAuthority, crossSign, pinOf, type Issuer } from './issue.js';
import { CURVE, webcrypto, x509 } from './x509.js';

/** One generation of the control plane's own authority. The highest number issues; older ones are believed until they are retired. */
export interface Authority {
  readonly number: number;
  /** Signed by itself, PEM. */
  readonly pem: string;
  /** For checks, many times a second: node:crypto's own form. */
  readonly certificate: X509Certificate;
  /** What claim tokens pin. */
  readonly pin: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly retiredAtMs: number | undefined;
}

/** An authority outlives the devices that pin it: its end cannot be moved without a visit to those that are switched off meanwhile. */
const AUTHORITY_LIFE_MS = 20 * 365 * 86_400_000;

/**
 * The authorities as files of one folder, mode 0600: `N.key` and `N.crt`, `N.cross.crt` (N's key, vouched for by N-1) and `N.retired` (when).
 *
 * INVARIANT: `N.crt` is written last, so that an authority is there with all its parts or not at all.
 */
export class Authorities {
  readonly #directory: string;
  readonly #now: () => number;
  #known: readonly Authority[] = [];
  #issuer: Issuer | undefined;

  private constructor(directory: string, now: () => number) {
    this.#directory = directory;
    this.#now = now;
  }

  /** Makes the first authority where there is none. @throws AuthorityError AUTHORITY_DAMAGED */
  static async open(directory: string, now: () => number): Promise<Authorities> {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const authorities = new Authorities(directory, now);
    authorities.#known = authorities.#read();
    if (authorities.#known.length === 0) await authorities.#create(1, undefined);
    else authorities.#issuer = await authorities.issuerOf(authorities.current().number);
    return authorities;
  }

  list(): readonly Authority[] {
    return this.#known;
  }

  current(): Authority {
    const current = this.#known.at(-1);
    if (!current) throw new Error('an opened set of authorities has one at least');
    return current;
  }

  /** Whose client certificates are taken, and whose servers devices shall believe. */
  accepted(): readonly Authority[] {
    return this.#known.filter(({ retiredAtMs }) => retiredAtMs === undefined);
  }

  issuer(): Issuer {
    if (!this.#issuer) throw new Error('an opened set of authorities has an issuer');
    return this.#issuer;
  }

  /** What a server sends behind its own certificate: from the newest authority down to the first, each vouched for by the one before it. */
  chain(): readonly string[] {
    return [...this.#known]
      .reverse()
      .map(({ number, pem }) => (number === this.#known[0]?.number ? pem : this.#text(`${number}.cross.crt`)));
  }

  /** A new authority that issues from now on; the old one stays accepted. */
  async rotate(): Promise<Authority> {
    const { number } = this.current();
    await this.#create(number + 1, this.issuer());
    return this.current();
  }

  /** Its certificates hold no longer, and its key is removed. @throws AuthorityError AUTHORITY_UNKNOWN, AUTHORITY_IN_USE */
  retire(number: number): Authority {
    const found = this.#known.find((authority) => authority.number === number);
    if (!found) {
      throw new AuthorityError('AUTHORITY_UNKNOWN', `There is no authority ${number}.`, {
        remedy: 'Look at `drover ca show`.',
      });
    }
    if (found === this.current()) {
      throw new AuthorityError('AUTHORITY_IN_USE', `Authority ${number} is the one that issues.`, {
        remedy: 'Make its successor first, with `drover ca rotate`.',
      });
    }
    if (found.retiredAtMs === undefined) {
      createSecretFile(join(this.#directory, `${number}.retired`), `${this.#now()}\n`);
      rmSync(join(this.#directory, `${number}.key`), { force: true });
      this.#known = this.#read();
    }
    return this.#known.find((authority) => authority.number === number) ?? found;
  }

  async #create(number: number, older: Issuer | undefined): Promise<void> {
    const atMs = this.#now();
    const issuer = await createAuthority(`Drover authority ${number}-${atMs.toString(36)}`, {
      fromMs: atMs,
      untilMs: atMs + AUTHORITY_LIFE_MS,
    });
    const pkcs8 = new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', issuer.privateKey));
    this.#write(`${number}.key`, x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'));
    if (older) this.#write(`${number}.cross.crt`, (await crossSign(issuer.certificate, older)).toString('pem'));
    this.#write(`${number}.crt`, issuer.certificate.toString('pem'));
    this.#known = this.#read();
    this.#issuer = issuer;
  }

  /** Parts of an authority that a crash left without its certificate are nobody's, and are written anew. */
  #write(name: string, pem: string): void {
    const file = join(this.#directory, name);
    rmSync(file, { force: true });
    createSecretFile(file, `${pem.trim()}\n`);
  }

  #text(name: string): string {
    return readFileSync(join(this.#directory, name), 'utf8');
  }

  #read(): Authority[] {
    const numbers = readdirSync(this.#directory).flatMap((name) => /^(\d{1,6})\.crt$/.exec(name)?.[1] ?? []);
    return numbers
      .map(Number)
      .sort((a, b) => a - b)
      .map((number) => {
        try {
          const pem = this.#text(`${number}.crt`);
          const certificate = new X509Certificate(pem);
          const retired = existsSync(join(this.#directory, `${number}.retired`));
          return {
            number,
            pem,
            certificate,
            pin: pinOf(new x509.X509Certificate(pem)),
            createdAtMs: Date.parse(certificate.validFrom),
            expiresAtMs: Date.parse(certificate.validTo),
            retiredAtMs: retired ? Number(this.#text(`${number}.retired`)) : undefined,
          };
        } catch (cause) {
          throw this.#damaged(`${number}.crt`, cause);
        }
      });
  }

  /** One that is not retired, for what has to be signed by it: certificates by the newest, revocation lists by each. */
  async issuerOf(number: number): Promise<Issuer> {
    try {
      const pem = this.#text(`${number}.crt`);
      const [der] = x509.PemConverter.decode(this.#text(`${number}.key`));
      if (!der) throw new Error('it holds no key');
      const privateKey = await webcrypto.subtle.importKey('pkcs8', der, CURVE, true, ['sign']);
      return { certificate: new x509.X509Certificate(pem), privateKey };
    } catch (cause) {
      throw this.#damaged(`${number}.key`, cause);
    }
  }

  #damaged(name: string, cause: unknown): AuthorityError {
    const why = cause instanceof Error ? cause.message : String(cause);
    return new AuthorityError('AUTHORITY_DAMAGED', `The certificate authority cannot be read: ${why}.`, {
      where: join(this.#directory, name),
      remedy: 'Restore the whole data directory from one backup: devices believe no other authority.',
      cause,
    });
  }
}
