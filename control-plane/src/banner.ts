import type { ControlPlaneConfiguration } from './config.js';
import type { ControlPlane } from './start.js';

export const USAGE = `Usage: drover-control-plane [--config FILE] [--json-ready] [--rebuild-database] [--new-director-key]

  --config FILE         configuration as JSON; the environment (DROVER_HTTP_PORT, …) goes over it
  --json-ready          print one line of JSON on standard output when ready, instead of the text for people
  --rebuild-database    if the database is damaged: keep its file aside and begin with an empty one
  --new-director-key    make a new key for orders, because the old one was stolen or lost (see "drover recovery")
  --help, --version

Example: DROVER_DATA_DIR=/var/lib/drover drover-control-plane --config /etc/drover/control-plane.json
`;

const describeTls = (httpUrl: string, mqttUrl: string): string =>
  httpUrl.startsWith('https') && mqttUrl.startsWith('mqtts')
    ? ''
    : '  TLS    not on loopback: for this machine alone (docs/operations.md, "TLS")\n';

/** What a person reads after a start. */
export function describeStart(
  { httpUrl, mqttUrl, adminToken, caFile }: ControlPlane,
  { dataDir }: ControlPlaneConfiguration,
  version: string,
): string {
  const ca = caFile === undefined ? '' : ` --ca ${caFile}`;
  const login =
    adminToken === undefined
      ? `  drover login ${httpUrl}${ca}`
      : `  drover login ${httpUrl}${ca} --token ${adminToken}\n\nThis token of the first administrator is shown only now. Keep it.`;
  return `Drover control plane ${version} is ready.

  ${httpUrl.startsWith('https') ? 'HTTPS ' : 'HTTP  '} ${httpUrl}   (API at ${httpUrl}/docs)
  MQTT   ${mqttUrl}
${describeTls(httpUrl, mqttUrl)}  data   ${dataDir}

Next:
${login}

`;
}

/** Loud, because nothing else shows it: whoever is on the way reads tokens, credentials and models, and can change what is not signed. */
export const warnOfPlainListeners = (urls: readonly string[]): string =>
  urls.length === 0
    ? ''
    : `
WARNING: ${urls.join(' and ')} can be reached from other machines and ${urls.length === 1 ? 'speaks' : 'speak'} NO TLS.
Access tokens, device passwords and models can be read on the way. Remove "tls.mode": "off" (DROVER_TLS_MODE),
or let only a proxy that ends TLS reach it. See docs/operations.md, "TLS".

`;
