"""What came out of a run, where it came from, and whether it is still true.

- `store`: a run's numbers as tidy rows in one JSON file;
- `staleness`: hashes of everything a result depends on, and what has gone stale;
- `provenance`: commit, device, time and memory of a run;
- `parameters`: a chapter checks the parameters it was given;
- `claims`, `verdicts`: what a paper claims, and what the rows say of it;
- `tables`: measured values beside published ones, as accessible HTML.
"""
