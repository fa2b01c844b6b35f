"""Tasks on the ranks of an MPI program, beside threads and processes of one machine.

mpiexec -n 3 python -m mpi4py.futures ranks.py    # one rank hands out, two work
"""

from mpi4py.futures import MPIPoolExecutor

import gilcmp


def total(n):
    """Add the squares below n, in bytecode."""
    return sum(i * i for i in range(n))


if __name__ == "__main__":
    found = gilcmp.compare(
        total,
        tasks=[100_000] * 8,
        workers=2,
        strategies=["threads", "processes", MPIPoolExecutor],
        budget=6,
    )
    print(found)
