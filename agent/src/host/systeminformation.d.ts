// systeminformation types only its entry; its modules export the same functions.
declare module 'systeminformation/lib/cpu.js' {
  export { cpuTemperature } from 'systeminformation';
}
declare module 'systeminformation/lib/graphics.js' {
  export { graphics } from 'systeminformation';
}
