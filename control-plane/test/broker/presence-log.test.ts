import { expect, it } from 'vitest';
import { readPresence } from '../../src/broker/presence-log.js';

it.each([
  ["1700000000: New client connected from 10.0.0.7:53412 as pump-7 (p4, c1, k60, u'pump-7').", 'connected'],
  ['1700000000: Client pump-7 disconnected.', 'disconnected'],
  ['Client pump-7 closed its connection.', 'disconnected'],
  ['1700000000: Client pump-7 has exceeded timeout, disconnecting.', 'disconnected'],
  ['1700000000: Client pump-7 already connected, closing old connection.', 'disconnected'],
  ['1700000000: pump-7 1 drover/v1/devices/pump-7/orders', 'subscribed'],
])('reads %s', (line, event) => {
  expect(readPresence(line)).toEqual({ device: 'pump-7', event });
});

it.each([
  '1700000000: pump-7 1 drover/v1/devices/pump-8/orders',
  '1700000000: pump-7 1 #',
  '1700000000: New connection from 10.0.0.7:53412 on port 8883.',
  '1700000000: Client <unknown> closed its connection.',
  "New client connected from 10.0.0.7:1 as Pump/7 (p4, c1, k60, u'x').",
  '',
])('says nothing about "%s"', (line) => {
  expect(readPresence(line)).toBeUndefined();
});
