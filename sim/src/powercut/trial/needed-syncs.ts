import type { SyncWeight } from './power-cuts.js';
import type { RecordedScenario } from './recorded-update.js';

/** Syncs whose loss a device cannot make good by itself, and an update in which a campaign has to find that. */
export const NEEDED_SYNCS: readonly { readonly site: string; readonly seenIn: RecordedScenario }[] = [
  // What was acknowledged is in the journal alone until its mirror is written, and both names are durable by the last.
  { site: 'fsync journal.db-wal', seenIn: 'upgrade' },
  { site: 'fsync journal.db', seenIn: 'upgrade' },
  { site: 'fsync .', seenIn: 'upgrade' },
  // Who the device is: nobody but a visitor could give it another key.
  { site: 'fsync device-key.json.tmp', seenIn: 'first' },
  { site: 'fsync identity.json.tmp', seenIn: 'first' },
  // There is no release before the first one that could serve.
  { site: 'fsync incoming/#.partial', seenIn: 'first' },
  // There are no parameters before the first ones.
  { site: 'fsync releases', seenIn: 'parameters' },
  { site: 'fsync releases/#.tmp', seenIn: 'parameters' },
  { site: 'fsync releases/#.tmp/.release.json.tmp', seenIn: 'parameters' },
  // The launcher starts what its record says, if every file of it is there.
  { site: 'fsync launcher', seenIn: 'agent' },
  { site: 'fsync launcher/slots.json.tmp', seenIn: 'agent' },
  { site: 'fsync launcher/versions', seenIn: 'agent' },
  { site: 'fsync launcher/versions/@.tmp', seenIn: 'agent' },
  { site: 'fsync launcher/versions/@.tmp/.release.json.tmp', seenIn: 'agent' },
  { site: 'fsync launcher/versions/@.tmp/BUNDLE', seenIn: 'agent' },
  { site: 'fsync launcher/versions/@.tmp/FILES', seenIn: 'agent' },
  { site: 'fsync launcher/versions/@.tmp/bin', seenIn: 'agent' },
  { site: 'fsync launcher/versions/@.tmp/bin/drover-agent', seenIn: 'agent' },
  { site: 'fsync launcher/versions/@.tmp/lib', seenIn: 'agent' },
  { site: 'fsync launcher/versions/@.tmp/lib/weights', seenIn: 'agent' },
];

/** Syncs whose loss is healed, and by what. They stay: each saves the device some work after a cut, or covers a second fault. */
export const BORNE_SYNCS: readonly { readonly sites: RegExp; readonly by: string }[] = [
  { sites: /^fsync journal-mirror\.json\.tmp$/, by: 'the journal, from which a damaged mirror is written anew' },
  { sites: /^fsync journal\.db-journal$/, by: 'nothing: it is there only while the empty journal is made' },
  {
    sites: /^fsync outbox-sequence\.tmp$/,
    by: 'the clock: a file that was cut short makes the numbers go on from the time',
  },
  {
    sites: /^fsync outbox\.db(-wal|-journal)?$/,
    by: 'the numbers, which are reserved apart, and the next state report',
  },
  { sites: /^fsync metadata(\/.+)?$/, by: 'the repository, from which metadata that does not verify is fetched anew' },
  {
    sites: /^fsync (incoming|blobs)$|^fsync incoming\/#\.json\.tmp$/,
    by: 'the digests: what is not what it should be is fetched again',
  },
  {
    sites: /^fsync releases\/#\.tmp\/(?!\.release\.json\.tmp$).+$/,
    by: 'the release before, which serves, until the one that is not whole was staged again',
  },
  {
    sites: /^fsync parameters(\/.+)?$/,
    by: 'the release, from which the file is written anew at every start',
  },
  { sites: /^fsync adaptations(\/.+)?$/, by: 'the release below the adaptation' },
];

export const isBorne = (site: string): boolean => BORNE_SYNCS.some(({ sites }) => sites.test(site));

/**
 * What contradicts the lists in what was weighed, each in words. `complete`: scenarios of which every sync was weighed, so that one which is not among the
 * weights is not made any more.
 */
export function unexpected(weights: readonly SyncWeight[], complete: readonly RecordedScenario[]): string[] {
  const sites = new Set(weights.map(({ site }) => site));
  const seen = new Set(weights.filter(({ violation }) => violation).map(({ site }) => site));
  const missed = NEEDED_SYNCS.flatMap(({ site, seenIn }) => {
    const weight = weights.find((each) => each.site === site && each.scenario === seenIn);
    if (!weight) return complete.includes(seenIn) ? [`${site} is not made in "${seenIn}" any more`] : [];
    return weight.violation ? [] : [`the loss of ${site} was not seen in "${seenIn}"`];
  });
  return [
    ...[...seen].filter(isBorne).map((site) => `${site} is listed as borne, and its loss was seen`),
    ...[...sites]
      .filter((site) => !isBorne(site) && !NEEDED_SYNCS.some((each) => each.site === site))
      .map((site) => `${site} is not listed`),
    ...missed,
  ];
}
