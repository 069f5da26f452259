import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceId, digestOf, ModelName, Version } from '@drover/shared/ids';
import { runDrover } from '../../src/cli/program.js';
import { unattendedTerminal } from '../cli-terminal.js';
import { startFixture, type ControlPlaneFixture } from '../control-plane-fixture.js';

describe('drover model', () => {
  let fixture: ControlPlaneFixture;
  beforeEach(async () => {
    fixture = await startFixture();
    await fixture.app.listen({ host: '127.0.0.1', port: 0 });
  });
  afterEach(() => fixture.close());

  async function run(...words: string[]): Promise<string> {
    const { port } = fixture.app.server.address() as AddressInfo;
    const { authorization = '' } = await fixture.token('viewer');
    const said: string[] = [];
    const terminal = unattendedTerminal((text) => void said.push(text), {
      DROVER_URL: `http://127.0.0.1:${port}`,
      DROVER_TOKEN: authorization.replace('Bearer ', ''),
    });
    await runDrover(['model', ...words], terminal, '0.0.0');
    return said.join('\n');
  }

  it('inputs: when nothing was reported, says why that may be', async () => {
    expect(await run('inputs', 'gas-classifier', '--since', '1h')).toContain(
      'No device has held inputs against a contract',
    );
  });

  it('inputs: when rules were broken, says which, how often and on how many devices', async () => {
    const key = {
      device_id: DeviceId('alpha'),
      digest: digestOf(Buffer.from('release')),
      adaptation: '' as const,
      hour: 1,
      model: ModelName('gas'),
      received_at: 1,
    };
    await fixture.db
      .insertInto('input_hours')
      .values({ ...key, version: Version('1.0.0'), rows: 1_000, refused_requests: 2 })
      .execute();
    const rule = { rule: 0, input: 'x', feature: 'heat', says: 'at most 85', rows: 25 };
    await fixture.db
      .insertInto('input_violations')
      .values({ ...key, ...rule, windows: 0, windows_below: 0, is_below: null })
      .execute();
    const said = await run('inputs', 'gas');
    expect(said).toContain('1.0.0: 1,000 rows on 1 devices, 2 requests refused');
    expect(said).toMatch(/x\/heat +at most 85 +25 +2\.50 % +1 +- +-/);
  });

  it('field: says what each release served, and how well, by classes or by values', async () => {
    expect(await run('field', 'gas', '--since', '1h')).toContain('No device has reported');
    const digest = digestOf(Buffer.from('release'));
    const window = { report_id: 1, device_id: DeviceId('alpha'), model: ModelName('gas'), window_ms: 1, failures: 1 };
    const none = { error_count: 0, error_sum: 0, error_absolute: 0, error_squared: 0 };
    await fixture.db
      .insertInto('serving_counts')
      .values([
        {
          ...window,
          ...none,
          version: Version('1.0.0'),
          digest,
          received_at: 1,
          requests: 50,
          labelled: 8,
          correct: 6,
        },
        {
          ...window,
          ...{ version: Version('2.0.0'), digest: digestOf(Buffer.from('other')), received_at: 2, requests: 9 },
          ...{ labelled: 0, correct: 0, error_count: 2, error_sum: -1, error_absolute: 3, error_squared: 5 },
        },
      ])
      .execute();
    const said = await run('field', 'gas');
    expect(said).toMatch(/1\.0\.0 +1 +50 +1 +8 +75\.0 % +- +- +-/);
    expect(said).toMatch(/2\.0\.0 +1 +9 +1 +2 +- +-0\.500 +1\.50 +1\.58/);
  });
});
