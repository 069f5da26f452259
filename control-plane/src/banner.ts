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

/** What a person reads after a start. */
export function describeStart(
  { httpUrl, mqttUrl, adminToken }: ControlPlane,
  { dataDir }: ControlPlaneConfiguration,
  version: string,
): string {
  const login =
    adminToken === undefined
      ? `  drover login ${httpUrl}`
      : `  drover login ${httpUrl} --token ${adminToken}\n\nThis token of the first administrator is shown only now. Keep it.`;
  return `Drover control plane ${version} is ready.

  HTTP   ${httpUrl}   (API at ${httpUrl}/docs)
  MQTT   ${mqttUrl}
  data   ${dataDir}

Next:
${login}

`;
}
