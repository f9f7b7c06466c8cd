"""Millions of items a second that a multiprocessing.Queue carries from one process to another, one by one.

usage: queue_stream.py BYTES
"""
import sys
import time
from multiprocessing import Process, Queue

COUNT = 30_000


def produce(queue, size):
    item = 12345 if size == 8 else bytes(size)
    for _ in range(COUNT):
        queue.put(item)


if __name__ == "__main__":
    queue = Queue()
    producer = Process(target=produce, args=(queue, int(sys.argv[1])))
    producer.start()
    queue.get()
    begun = time.perf_counter()
    for _ in range(COUNT - 1):
        queue.get()
    print((COUNT - 1) / (time.perf_counter() - begun) * 1e-6)
    producer.join()
