/**
 * ONNX Runtime, mute. Since 1.30 the library for Linux gathers usage data: it writes an identifier of the device into the user's cache folder, a log per process into the
 * temporary folder, and has the code to send events to its makers' server (onnxruntime/core/platform/posix/telemetry.cc). A plant's device tells nobody anything, so everything in Drover
 * loads the runtime from here (the linter sees to it). The library reads the variable when its environment is made, which is with the first session.
 */
process.env['ORT_DISABLE_TELEMETRY'] = '1';

export * from 'onnxruntime-node';
