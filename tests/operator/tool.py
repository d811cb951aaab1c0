"""The program `holdfast` as a script uses it: arguments in, JSON and an exit status out."""

import json
import os
import subprocess

from local_pipeline import Failure

# The longest command waits for nothing but a redrive of a few letters.
COMMAND_SECONDS = 60


class Holdfast:
    """The program, pointed at one pipeline."""

    def __init__(self, binary, pipeline):
        self._binary = binary
        # What a person has set for a stack of theirs must not get in.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "AWS_"))}
        self._environment = {
            **kept,
            "HOLDFAST_API": pipeline.api,
            "HOLDFAST_SQS": pipeline.sqs,
            "HOLDFAST_DYNAMODB": pipeline.dynamodb,
        }

    def __call__(self, *arguments, status=0):
        """Runs a command; returns its objects. Fails unless it ends with one of `status`."""
        wanted = status if isinstance(status, tuple) else (status,)
        command = [self._binary, "--local", "--json", *arguments]
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"`holdfast {' '.join(arguments)}` did not end within {COMMAND_SECONDS} s") from None
        if done.returncode not in wanted:
            said = f"{done.stdout}{done.stderr}".strip()
            raise Failure(f"`holdfast {' '.join(arguments)}` ended with {done.returncode} and not {status}: {said}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def one(self, *arguments, status=0):
        """Runs a command that prints one object; returns it."""
        objects = self(*arguments, status=status)
        if len(objects) != 1:
            raise Failure(f"`holdfast {' '.join(arguments)}` printed {len(objects)} objects, and not one")
        return objects[0]
