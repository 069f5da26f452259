import { CURVE, SIGNATURE, webcrypto, x509 } from '../../src/certificate-authority/x509.js';

/** As `openssl req -new` makes it. */
export async function makeRequest(): Promise<{ request: string; key: string }> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=broker',
    keys,
    signingAlgorithm: SIGNATURE,
  });
  const pkcs8 = new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return { request: request.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') };
}
