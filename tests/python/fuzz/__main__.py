"""Run cases by hand: `PYTHONPATH=tests/python python -m fuzz sequences --seed 17 --shrink`."""

import argparse
import os

from fuzz import runner


def main() -> int:
    """Run what the command line says; returns 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("kind", help=", ".join(runner.KINDS))
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=1, help="number of cases")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shrink", action="store_true", help="show the case, with few steps")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        runner.answer(args.kind, args.seed, args.count)
        return 0
    if args.shrink:
        return show(args.kind, args.seed)
    found = runner.run_in_children(args.kind, args.seed, args.count, args.processes, show=True)
    print(f"{args.count} cases from seed {args.seed} on, {len(found)} findings")
    return int(bool(found))


def show(kind: str, seed: int) -> int:
    """Show one case step by step, with as few steps as show its problem."""
    from fuzz import sequences  # with torch, which takes a while

    if kind != "sequences":
        findings = runner.case(kind, seed)
        print(*findings or ["no findings"], sep="\n")
        return int(bool(findings))
    print(sequences.described(seed))
    kept = sequences.shrunk(seed)
    problems, done = sequences.run_case(seed, kept)
    for step in done:
        print(f"  {step.text}\n    -> {step.result!r:.200}")
    print(*problems or ["no findings"], sep="\n")
    return int(bool(problems))


if __name__ == "__main__":
    raise SystemExit(main())
