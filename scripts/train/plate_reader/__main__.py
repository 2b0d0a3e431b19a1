"""Commands: ``train`` (drawn plates), ``tune`` (with real ones), ``calibrate`` (and export). See docs/models.md."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from scripts.train.plate_reader import recipe
from scripts.train.plate_reader.train import Plan, run

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train.plate_reader", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, minutes, rate in (("train", 80.0, 8e-4), ("tune", 5.0, 2e-4)):
        command = commands.add_parser(name)
        command.add_argument("--out", type=Path, required=True, help="folder of the run; goes on from its last.pt")
        command.add_argument("--start", type=Path, help="checkpoint whose weights are taken to begin with")
        command.add_argument("--minutes", type=float, default=minutes)
        command.add_argument("--steps", type=int, help="end after so many steps instead")
        command.add_argument("--learning-rate", type=float, default=rate)
        command.add_argument("--ranks", type=int, default=1, help="processes of one thread each (CPU)")
        command.add_argument("--workers", type=int, default=0, help="processes that draw crops (GPU)")
        command.add_argument("--device", default="cpu", help="cpu or cuda")
        command.add_argument("--batch", type=int, default=96)
        command.add_argument("--fresh", type=int, default=40, help="new crops a step")
        command.add_argument("--seed", type=int, default=7)
        _data(command)
        if name == "tune":
            command.add_argument("--without-fold", type=int, help="leave out this part (0-4) of the real plates")
    command = commands.add_parser("calibrate")
    command.add_argument("checkpoint", type=Path, help="the network to ship")
    command.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    command.add_argument("--name", default="etle-plates-3")
    command.add_argument("--folds", type=Path, nargs=5, help="checkpoints tuned without part 0 .. 4")
    command.add_argument("--drawn-only", type=Path, help="checkpoint that saw no real plate")
    command.add_argument("--accept", type=float, help="keep this threshold; the report still says which the rule gives")
    command.add_argument("--report", type=Path, help="where the figures go (JSON)")
    command.add_argument("--curve", type=Path, help="where the calibration curve goes (PNG)")
    _data(command)
    arguments = parser.parse_args()
    data = recipe.Data(arguments.data, arguments.nonplates)
    if arguments.command == "calibrate":
        from scripts.train.plate_reader.calibrate import calibrate

        calibrate(arguments, data)
        return
    tune = arguments.command == "tune"
    run(
        Plan(
            out=arguments.out,
            make_source=partial(recipe.with_real, data, arguments.without_fold)
            if tune
            else partial(recipe.drawn, data),
            make_validation=recipe.validation,
            monitor=partial(recipe.monitored, data) if data.root.is_dir() else None,
            start=arguments.start,
            minutes=arguments.minutes,
            steps=arguments.steps,
            learning_rate=arguments.learning_rate,
            relabel_from=0.0 if tune else 0.25,
            ranks=arguments.ranks,
            workers=arguments.workers,
            device=arguments.device,
            batch=arguments.batch,
            fresh=arguments.fresh,
            seed=arguments.seed,
        )
    )


def _data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, default=DATA, help="the development data")
    command.add_argument("--nonplates", type=Path, help="real crops without plate (scripts.bench.nonplates)")


if __name__ == "__main__":
    main()
