"""Milliseconds from nothing to a manager with a dict, one put and one get."""
import time

begun = time.perf_counter()
from multiprocessing import Manager  # noqa: E402  (a program has to import it)

if __name__ == "__main__":
    manager = Manager()
    counts = manager.dict()
    counts["count"] = 100
    assert counts["count"] == 100
    print((time.perf_counter() - begun) * 1e3)
