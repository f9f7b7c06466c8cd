"""Figures of multiprocessing's Pool and Pipe, one a line: pool.py map|map-1|apply|pipe."""
import sys
import time
from multiprocessing import Pipe, Pool, Process

COUNT = 100_000


def nothing(n):
    return n


def answer(connection):
    while (n := connection.recv()) is not None:
        connection.send(n)


def main(what):
    if what == "pipe":
        here, there = Pipe()
        process = Process(target=answer, args=(there,))
        process.start()
        there.close()
        for _ in range(5):
            begun = time.perf_counter()
            for n in range(2000):
                here.send(n)
                here.recv()
            print((time.perf_counter() - begun) / 2000 * 1e6)
        here.send(None)
        process.join()
        return
    with Pool(2) as pool:
        pool.map(nothing, range(100))
        numbers = list(range(COUNT))
        for _ in range(3 if what == "map-1" else 7):
            begun = time.perf_counter()
            if what == "apply":
                for n in range(1000):
                    pool.apply(nothing, (n,))
                print((time.perf_counter() - begun) / 1000 * 1e6)
            elif what == "map-1":
                pool.map(nothing, numbers[:20_000], 1)
                print(20_000 / (time.perf_counter() - begun) / 1e6)
            else:
                pool.map(nothing, numbers)
                print(COUNT / (time.perf_counter() - begun) / 1e6)


if __name__ == "__main__":
    main(sys.argv[1])
