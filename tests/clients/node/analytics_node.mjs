// Segment's former Node library, which is deprecated and still installed: makes the calls that it is told on stdin.

import Analytics from "analytics-node";
import { callAll, run } from "./client_process.mjs";

await run(async (task) => {
  const analytics = new Analytics(task.write_key, {
    host: task.host,
    retryCount: 3,
    timeout: task.timeout_seconds ? task.timeout_seconds * 1000 : undefined,
    errorHandler: () => {},
    // It sends the first call of all at once, and then the others together.
    flushAt: Math.max(task.calls.length - 1, 1),
  });
  return callAll(analytics, task.calls);
});
