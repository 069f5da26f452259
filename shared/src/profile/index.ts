export { parseProfile, PROFILE_FORMAT, ProfileDocument, toJson } from './document.js';
export { PROFILE_CODES, ProfileError } from './errors.js';
export { DEFAULT_SKETCH_K, KllDocument, KllSketch, type StepDistribution } from './kll.js';
export {
  mergeProfiles,
  ProfileBuilder,
  type FeatureProfile,
  type Profile,
  type ProfileBuilderOptions,
} from './profile.js';
