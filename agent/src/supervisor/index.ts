export { startAgent, type Agent, type AgentOptions, type AgentStatus } from './agent.js';
export { AGENT_CODES, AgentError } from './errors.js';
export { jsonLog, type Log, type LogLevel } from './log.js';
export { openStatusSocket, readStatus } from './status-socket.js';
