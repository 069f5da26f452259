import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { AGENT_NODE_FLAGS } from '../../src/fleet/agent-process.js';

describe('the agent process of the simulator', () => {
  it('when it starts, node has the flags that it has on a device', () => {
    const wrapper = readFileSync(new URL('../../../firmware-images/systemd/drover-agent.sh', import.meta.url), 'utf8');

    const flags = /^exec "\$node" (.*) "\$here/m.exec(wrapper)?.[1];

    expect(flags?.split(' ')).toEqual([...AGENT_NODE_FLAGS]);
  });
});
