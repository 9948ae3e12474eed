"""Random use of everything that is public: sequences of calls, damaged states, calls of the core.

A case is a function of its seed. How one is read from top to bottom:

* `dice`: what is drawn, and from what;
* `values`: good arguments by name, and absurd ones;
* `subjects`: the tile, layer or model that a sequence works on;
* `calls`: what can be called, and which errors it may raise;
* `snapshots`: the state of a subject, and the ways to save and restore one;
* `rules`: what holds after every call;
* `sequences`: a sequence of calls, run twice and resumed;
* `damage`: states that were damaged on their way;
* `border`: direct calls of the functions of the core;
* `runner`: many seeds, in processes that may crash.

A test that fails prints for each finding the line that runs its case again, such as

    PYTHONPATH=tests/python python -m fuzz sequences --seed 17 --shrink
"""
