"""Milliseconds that a hundred processes take to count a manager's dict down to 0 under its lock."""
import time

begun = time.perf_counter()
from multiprocessing import Manager, Process  # noqa: E402  (a program has to import it)


def decrement(counts, lock):
    with lock:
        counts["count"] -= 1


if __name__ == "__main__":
    manager = Manager()
    counts = manager.dict({"count": 100})
    lock = manager.Lock()
    workers = [Process(target=decrement, args=(counts, lock)) for _ in range(100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counts["count"] == 0
    print((time.perf_counter() - begun) * 1e3)
