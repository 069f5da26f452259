import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceId, newLabelRequestId, type ModelName } from '@drover/shared/ids';
import { createKeyPair } from '@drover/shared/trust';
import { runDrover } from '../../src/cli/program.js';
import { unattendedTerminal } from '../cli-terminal.js';
import type { Role } from '../../src/governance/index.js';
import { storeLabelListing } from '../../src/labels/store-listing.js';
import { enrolmentOf, post, startFixture, type ControlPlaneFixture } from '../control-plane-fixture.js';

describe('drover labels', () => {
  let fixture: ControlPlaneFixture;
  const device = DeviceId('alpha');
  const ids = [newLabelRequestId(), newLabelRequestId()];

  beforeEach(async () => {
    fixture = await startFixture();
    await fixture.app.listen({ host: '127.0.0.1', port: 0 });
    const made = await post(fixture, 'operator', '/claim-tokens', { attributes: { site: 'lab' }, ttlMs: 10_000 });
    const { claimToken } = made.json() as { claimToken: string };
    const payload = enrolmentOf(createKeyPair('alpha'), claimToken, device);
    expect((await fixture.app.inject({ method: 'POST', url: '/api/v1/enrolments', payload })).statusCode).toBe(201);
    const { at } = fixture.clock;
    const described = ids.map((id, row) => ({
      id,
      model: 'gas' as ModelName,
      version: '1.0.0' as never,
      requestId: 'frame 17',
      row,
      reason: 'random',
      requestedAt: at,
      servedAt: at,
      expiresAt: at + 60_000,
      prediction: 2,
      confidence: 0.25,
    }));
    await fixture.db
      .transaction()
      .execute((trx) =>
        storeLabelListing(trx, { open: [...ids], described }, { deviceId: device, sequence: 1, at, receivedAt: at }),
      );
  });
  afterEach(() => fixture.close());

  async function run(role: Role, ...words: string[]): Promise<{ said: string; code: number }> {
    const { port } = fixture.app.server.address() as AddressInfo;
    const { authorization = '' } = await fixture.token(role);
    const said: string[] = [];
    const terminal = unattendedTerminal((text) => void said.push(text), {
      DROVER_URL: `http://127.0.0.1:${port}`,
      DROVER_TOKEN: authorization.replace('Bearer ', ''),
    });
    const code = await runDrover(words, terminal, '0.0.0');
    return { said: said.join('\n'), code };
  }

  it('when a labeller lists what waits, shows it, and goes on where a page ended', async () => {
    const { said, code } = await run('labeller', 'labels', 'list', '--site', 'lab', '--limit', '1');
    expect(code).toBe(0);
    expect(said).toMatch(new RegExp(`${ids[0]} +alpha +gas@1\\.0\\.0 +row 0 of frame 17 +2 \\(25 %\\) +random`));
    expect(said).toContain('There are more: --after 1');
    const rest = await run('labeller', '--json', 'labels', 'list', '--after', '1');
    expect(JSON.parse(rest.said)).toMatchObject({ items: [{ id: ids[1], row: 1 }] });
  });

  it('when nothing waits, says why that may be', async () => {
    expect((await run('viewer', 'labels', 'list', '--site', 'elsewhere')).said).toContain('No label is asked for.');
  });

  it('when a labeller answers, says so once, and lists it with who gave it', async () => {
    const [id = ''] = ids;
    expect((await run('labeller', 'labels', 'answer', id, '3')).said).toContain('Taken. The device gets it');
    expect(await run('labeller', 'labels', 'answer', id)).toMatchObject({
      code: 1,
      said: expect.stringContaining('LABEL_REQUEST_ANSWERED') as string,
    });
    const { said } = await run('labeller', 'labels', 'list', '--state', 'answered');
    expect(said).toMatch(new RegExp(`${id} .* 3 +test labeller +waiting`));
    expect((await run('labeller', 'labels', 'list')).said).not.toContain(id);
    expect((await run('viewer', 'labels', 'answer', id, '3')).said).toContain('AUTH_FORBIDDEN');
  });

  it('when a file of answers is imported, each line is taken or told why not; a second time changes nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'drover-import-'));
    const [one = '', two = ''] = ids;
    const file = join(folder, 'answers');
    try {
      writeFileSync(file, `id,label\n${one},"1"\n\n{"id":"${two}","label":"no such class"}\n`);
      const { code, said } = await run('labeller', '--json', 'labels', 'import', file);
      const [document, error] = said.split('\n').map((line) => JSON.parse(line) as object);
      expect(code).toBe(1);
      expect(document).toMatchObject({
        taken: 1,
        refused: [{ line: 4, id: two, error: { code: 'LABEL_CLASS_UNKNOWN' } }],
      });
      expect(error).toMatchObject({ error: { code: 'CLI_ANSWERS_REFUSED', where: file } });
      writeFileSync(file, `${one},1\n${two},\n`);
      expect(await run('operator', 'labels', 'import', file)).toMatchObject({
        code: 0,
        said: expect.stringContaining('2 of 2 answers are taken.') as string,
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('when lines of a file cannot be read, sends none of it and names them', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'drover-import-'));
    const [one = ''] = ids;
    const file = join(folder, 'answers');
    try {
      writeFileSync(
        file,
        [`${one},1`, 'nonsense', 'x,1', `${one},"open`, '{"id":1}', `{"id":"${one}","label":-1}`].join('\n'),
      );
      const { code, said } = await run('labeller', 'labels', 'import', file);
      expect(code).toBe(1);
      expect(said).toContain('CLI_ANSWERS_UNFIT');
      for (const line of [2, 3, 4, 5, 6]) expect(said).toContain(`line ${line}: `);
      expect(said).not.toContain('line 1: ');
      expect((await run('labeller', 'labels', 'list')).said).toContain(one);
      writeFileSync(file, '\n');
      expect((await run('labeller', 'labels', 'import', file)).said).toContain('The file has no answers.');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('when a labeller asks for anything else, is refused', async () => {
    for (const words of [
      ['device', 'list'],
      ['rollout', 'list'],
      ['audit', 'list'],
    ])
      expect(await run('labeller', ...words)).toMatchObject({
        code: 1,
        said: expect.stringContaining('AUTH_FORBIDDEN') as string,
      });
    expect((await run('mirror', 'labels', 'list')).said).toContain('AUTH_FORBIDDEN');
  });
});
