import { createServer, type AddressInfo } from 'node:net';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { toTlsError } from '../../../src/link/channel/index.js';
import { createChannel, type Channel, type ServerTrust } from '../../../src/link/index.js';
import { createTestAuthority, serveTls, type Served, type TestAuthority } from './test-authority.js';

const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;

let ours: TestAuthority;
let older: TestAuthority;
let stranger: TestAuthority;
beforeAll(async () => {
  ours = await createTestAuthority('ours');
  older = await createTestAuthority('older');
  stranger = await createTestAuthority('stranger');
});

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

function channel(trust: Partial<ServerTrust>, notBeforeMs = Date.now()): Channel {
  return createChannel({
    proxy: { exceptions: [] },
    trust: () => ({ authorities: [], system: false, ...trust }),
    client: () => undefined,
    notBeforeMs: () => notBeforeMs,
  });
}

/** What opening a connection to such a server comes to, and whether a byte was sent to it. */
async function opening(served: Served, by: Channel, host = '127.0.0.1'): Promise<string> {
  const server = await serveTls(served);
  closers.push(server.close);
  const target = new URL(server.url);
  target.hostname = host;
  try {
    const socket = await by.open(target, new AbortController().signal);
    socket.destroy();
    return 'believed';
  } catch (error) {
    expect(server.receivedBytes()).toBe(0);
    return (error as { code: string }).code;
  }
}

describe('when the clock of the device is right', () => {
  it('believes a server by an authority that it knows, and by no other', async () => {
    const served = await ours.issue();
    expect(await opening(served, channel({ authorities: [ours.pem] }))).toBe('believed');
    expect(await opening(served, channel({ authorities: [stranger.pem] }))).toBe('LINK_SERVER_UNTRUSTED');
    expect(await opening(served, channel({ further: ours.pem }))).toBe('believed');
    expect(await opening(served, channel({ authorities: [], system: true }))).toBe('LINK_SERVER_UNTRUSTED');
  });

  it('says that a certificate has expired, is for another name, or is none for servers', async () => {
    const by = channel({ authorities: [ours.pem] });
    expect(await opening(await ours.issue({ until: Date.now() - 1000 }), by)).toBe('LINK_SERVER_EXPIRED');
    expect(await opening(await ours.issue({ names: ['elsewhere.example'] }), by)).toBe('LINK_SERVER_NAME_WRONG');
    expect(await opening(await ours.issue({ usage: 'client' }), by)).toBe('LINK_SERVER_UNTRUSTED');
  });

  it('says the same of a server by the authority of the operator', async () => {
    const by = channel({ further: ours.pem });
    expect(await opening(await ours.issue({ until: Date.now() - 1000 }), by)).toBe('LINK_SERVER_EXPIRED');
    expect(await opening(await ours.issue({ names: ['elsewhere.example'] }), by)).toBe('LINK_SERVER_NAME_WRONG');
  });

  it('believes by the pin of a claim token, without knowing the authority before', async () => {
    const { cert, key } = await ours.issue();
    const served = { cert: `${cert}\n${ours.pem}`, key };
    expect(await opening(served, channel({ pin: ours.pin }))).toBe('believed');
    expect(await opening(served, channel({ pin: stranger.pin }))).toBe('LINK_SERVER_UNTRUSTED');
    // The pinned authority is shown, but it is not the one that issued: a public certificate proves nothing.
    const forged = await stranger.issue();
    expect(await opening({ cert: `${forged.cert}\n${ours.pem}`, key: forged.key }, channel({ pin: ours.pin }))).toBe(
      'LINK_SERVER_UNTRUSTED',
    );
  });
});

describe('when an authority has been replaced', () => {
  it('a device that knows only the old one believes the new one by its word, and one that knows only the new one too', async () => {
    const { cert, key } = await ours.issue();
    const served = { cert: [cert, await ours.vouchedForBy(older), older.pem].join('\n'), key };
    expect(await opening(served, channel({ authorities: [older.pem] }))).toBe('believed');
    expect(await opening(served, channel({ authorities: [ours.pem] }))).toBe('believed');
    expect(await opening(served, channel({ pin: ours.pin }))).toBe('believed');
    expect(await opening(served, channel({ pin: older.pin }))).toBe('believed');
    expect(await opening(served, channel({ authorities: [stranger.pem] }))).toBe('LINK_SERVER_UNTRUSTED');
  });
});

describe('when the device does not know what time it is', () => {
  // For OpenSSL a certificate from the year after next is what today's is to a clock at 1970.
  const future = { from: Date.now() + YEAR_MS, until: Date.now() + 2 * YEAR_MS };

  it('believes what begins after its clock, by the authorities of its control plane', async () => {
    const served = await ours.issue(future);
    expect(await opening(served, channel({ authorities: [ours.pem] }, 0))).toBe('believed');
    const { cert, key } = served;
    const chain = { cert: [cert, await ours.vouchedForBy(older)].join('\n'), key };
    expect(await opening(chain, channel({ authorities: [older.pem] }, 0))).toBe('believed');
  });

  it('still refuses another authority, another name, and another purpose', async () => {
    const by = channel({ authorities: [ours.pem] }, 0);
    expect(await opening(await stranger.issue(future), by)).toBe('LINK_SERVER_NOT_YET_VALID');
    expect(await opening(await ours.issue({ ...future, names: ['elsewhere.example'] }), by)).toBe(
      'LINK_SERVER_NAME_WRONG',
    );
    expect(await opening(await ours.issue({ ...future, usage: 'client' }), by)).toMatch(
      /^LINK_SERVER_(UNTRUSTED|NOT_YET_VALID)$/,
    );
  });

  it('refuses what ended before the time that a signed order vouched for, whatever the clock says', async () => {
    const floorMs = Date.now() + 3 * YEAR_MS;
    const by = channel({ authorities: [ours.pem] }, floorMs);
    expect(await opening(await ours.issue(future), by)).toBe('LINK_SERVER_EXPIRED');
    expect(await opening(await ours.issue(), by)).toBe('LINK_SERVER_EXPIRED');
  });

  it('cannot say so much of the authority of the operator, and says what to do', async () => {
    expect(await opening(await ours.issue(future), channel({ further: ours.pem }, 0))).toBe(
      'LINK_SERVER_NOT_YET_VALID',
    );
  });
});

describe('when the server does not take the certificate of the device', () => {
  // The names that OpenSSL gives alerts (RFC 8446, section 6.2). A server of Node.js sends none; sim/test/links does it with Mosquitto.
  it.each([
    ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED', 'certificate expired'],
    ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED', 'certificate revoked'],
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'unknown ca'],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'certificate required'],
    ['ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE', 'bad certificate'],
  ])('says so for %s', (code, words) => {
    const error = toTlsError(Object.assign(new Error('alert'), { code }), new URL('mqtts://broker.example'));
    expect(error).toMatchObject({ code: 'LINK_CERTIFICATE_REFUSED' });
    expect(error.message).toContain(words);
  });

  it('does not blame the certificate for another alert', () => {
    const error = Object.assign(new Error('alert'), { code: 'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR' });
    expect(toTlsError(error, new URL('mqtts://broker.example'))).toMatchObject({ code: 'LINK_TLS_FAILED' });
  });
});

describe('when something else than TLS answers', () => {
  it('says that, and does not wait for ever', async () => {
    const plain = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const { port } = plain.address() as AddressInfo;
    const by = channel({ authorities: [ours.pem] });
    await expect(by.open(new URL(`mqtts://127.0.0.1:${port}`), new AbortController().signal)).rejects.toMatchObject({
      code: 'LINK_TLS_FAILED',
    });
    plain.close();
  });
});
