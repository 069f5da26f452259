const LOOK_EVERY_MS = 250;

/** Of every child of the supervisor, once its modules are loaded: it ends with the supervisor, and not before it is asked to. */
export function followSupervisor(): void {
  const end = (): void => process.exit(0);
  process.on('disconnect', end);
  // Node does not emit it while a socket that was sent waits to be acknowledged, which a supervisor that was killed never does; nor for what happened before this line, while the modules were loaded.
  const look = (): void => {
    if (!process.connected) end();
  };
  setInterval(look, LOOK_EVERY_MS).unref();
  look();
  // Signals to the whole group (Ctrl-C, systemd) are the supervisor's to answer; it ends this process.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
}
