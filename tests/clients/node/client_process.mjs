// What the scripts of Node libraries share: tasks on stdin, and a line of JSON on stdout for each that is done.
// `client_process.py` says what is in them.

import { readFileSync } from "node:fs";

/** Runs every task of stdin at the same time. `tasksOf` returns `failures` and `gaveUp` of one. */
export async function run(tasksOf) {
  const { tasks } = JSON.parse(readFileSync(0, "utf8"));
  const one = async (task) => {
    const { failures, gaveUp } = await tasksOf(task);
    console.log(JSON.stringify({ name: task.name, failures, gave_up: gaveUp.toSorted() }));
  };
  const results = await Promise.allSettled(tasks.map(one));
  const failed = results.filter((result) => result.status === "rejected");
  for (const { reason } of failed) console.error(reason);
  // A library may hold a connection open that nobody will answer any more.
  process.exit(failed.length ? 1 : 0);
}

/** Makes the calls at once through one of Segment's libraries, and waits until it has said of each what became of it. */
export async function callAll(analytics, calls) {
  const failures = {};
  const gaveUp = [];
  const made = calls.map(
    (call) =>
      new Promise((resolve) => {
        analytics[call.call](segmentMessage(call), (error) => {
          if (error) {
            failures[call.user] = 1;
            gaveUp.push(call.user);
          }
          resolve();
        });
      }),
  );
  await Promise.all(made);
  return { failures, gaveUp };
}

/** The arguments of a call of Segment's libraries, as those for Node take them. */
function segmentMessage(call) {
  const message = {};
  for (const name of ["event", "properties", "traits", "name", "category", "context", "integrations"]) {
    if (name in call) message[name] = call[name];
  }
  if ("timestamp" in call) message.timestamp = new Date(call.timestamp);
  if (call.message_id) message.messageId = call.message_id;
  message[call.anonymous ? "anonymousId" : "userId"] = call.user;
  if (call.both) message.anonymousId = `${call.user}/anonymous`;
  if ("group" in call) message.groupId = call.group;
  if ("previous" in call) message.previousId = call.previous;
  return message;
}
