/** Seconds on the wall and of the CPU, of the whole process with all its threads. */

/** What a piece of work took. */
export interface Times {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** Starts now; call the result to read it. */
export function stopwatch(): () => Times {
  const start = performance.now();
  const cpu = process.cpuUsage();
  const rounded = (seconds: number): number => Math.round(seconds * 1000) / 1000;
  return () => {
    const { user, system } = process.cpuUsage(cpu);
    return { seconds: rounded((performance.now() - start) / 1000), cpuSeconds: rounded((user + system) / 1e6) };
  };
}
