"""Latencies of answers, one kept connection per reader."""

import itertools
import threading

from stack import Client, spread


def latencies(stack, paths, times):
    """Milliseconds of each named path, `times` requests each, in turns."""
    client = Client(stack.port)
    seen = {name: [] for name in paths}
    for _ in range(times):
        for name, path in paths.items():
            seen[name].append(client.get(path)[1])
    return {name: spread(ms) for name, ms in seen.items()}


class Reader(threading.Thread):
    """Reads pages in turns until it is told to end, with a pause between two."""

    def __init__(self, stack, paths, pause):
        super().__init__(daemon=True)
        self.client = Client(stack.port)
        self.paths = paths
        self.pause = pause
        self.over = threading.Event()
        self.seen = {name: [] for name in paths}
        self.fault = None

    def run(self):
        try:
            for name in itertools.cycle(self.paths):
                path = self.paths[name]
                path = path() if callable(path) else path
                self.seen[name].append(self.client.get(path)[1])
                if self.over.wait(self.pause):
                    return
        except Exception as fault:  # it is raised again where the reader is ended
            self.fault = fault

    def end(self):
        """Ends it; spreads of the milliseconds by name."""
        self.over.set()
        self.join(60)
        if self.fault:
            raise self.fault
        return {name: spread(ms) for name, ms in self.seen.items()}
