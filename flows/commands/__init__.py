"""The commands of `moirai`: thin faces over the flows, put in order by flows/cli.py.

    options.py   what commands share
    stages.py    init, ingest, finetune, backtest, forecast, pipeline
    models.py    models, evaluate, pretrain
    operate.py   backfill, promote, rollback, schedule, serve

Heavy imports wait until a command runs.
"""
