import { expect, it } from 'vitest';
import { readPresence } from '../../src/broker/presence-log.js';

it.each([
  ["1700000000: New client connected from 10.0.0.7:53412 as pump-7 (p4, c1, k60, u'pump-7').", 'connected'],
  // The last five as from 2.1 on.
  ['1700000000: Client pump-7 disconnected due to malformed packet.', 'disconnected'],
  ['1700000000: Client pump-7 closed its connection.', 'disconnected'],
  ['1700000000: Client pump-7 disconnected, not authorised.', 'disconnected'],
  ['1700000000: Client pump-7 has exceeded timeout, disconnecting.', 'disconnected'],
  [
    '1700000000: Client pump-7 disconnected due to using not allowed feature (QoS too high, retain not supported, or bad AUTH method).',
    'disconnected',
  ],
  ['1700000000: Client pump-7 been disconnected by administrative action.', 'disconnected'],
  ['1700000000: Client pump-7 disconnected: Connection reset by peer.', 'disconnected'],
  ['1700000000: Bad socket read/write on client pump-7: The connection was lost.', 'disconnected'],
  ['1700000000: Client pump-7 disconnected.', 'disconnected'],
  ['1700000000: Client pump-7 already connected, closing old connection.', 'disconnected'],
  ['1700000000: Client pump-7 disconnected, session taken over.', 'disconnected'],
  ['1700000000: Client pump-7 [10.0.0.7:53412] disconnected: connection closed by client.', 'disconnected'],
  ['1700000000: Client pump-7 [fd00::7:53412] disconnected: exceeded timeout.', 'disconnected'],
  [
    '1700000000: Client pump-7 [10.0.0.7:53412] disconnected: bad socket read/write: The connection was lost.',
    'disconnected',
  ],
  ['1700000000: Client pump-7 [10.0.0.7:53412] disconnected.', 'disconnected'],
  ['Client pump-7 closed its connection.', 'disconnected'],
  ['1700000000: pump-7 1 drover/v1/devices/pump-7/orders', 'subscribed'],
])('reads %s', (line, event) => {
  expect(readPresence(line)).toEqual({ device: 'pump-7', event });
});

it.each([
  '1700000000: pump-7 1 drover/v1/devices/pump-8/orders',
  '1700000000: pump-7 1 #',
  '1700000000: New connection from 10.0.0.7:53412 on port 8883.',
  '1700000000: Client <unknown> closed its connection.',
  '1700000000: Client pump-7 negotiated TLSv1.3 cipher TLS_AES_256_GCM_SHA384',
  '1700000000: Client pump-7 connected with too large Will payload',
  '1700000000: Bad client pump-7 sending multiple CONNECT messages.',
  '1700000000: Outgoing messages are being dropped for client pump-7.',
  "New client connected from 10.0.0.7:1 as Pump/7 (p4, c1, k60, u'x').",
  '',
])('says nothing about "%s"', (line) => {
  expect(readPresence(line)).toBeUndefined();
});
