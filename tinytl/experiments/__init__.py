"""Experiments: what the formulas predict, measured, with figures and a report.

    collapse     equal filters stay equal: why initial weights must be random
    signal       what each initialisation does to a signal in a deep network
    transfer     a few labelled digits, with and without a pretrained network
    l2t          a smaller network imitates it, and learns what, where and which
    pretrain     makes the pretrained network that transfer starts from
    training     the steps, batches and accuracies that they share
    statistics   intervals and differences over repeated runs
    runner       many cells: keep each result, resume, show progress
    worker       the processes that compute cells
    figures*     drawings of the results
    *_text, l2t_learned
                 what the report says about each experiment
    wording      numbers as the report writes them
    report       the page with all of it
    demo         all together: ``tinytl demo``
    single       one run of a transfer method on official images
    evidence     many such runs, compared
    arguments    numbers on the command line

An experiment is a module with ``cells(seed, seeds)``, what there is to compute, and
``compute(settings, tick)``, which turns the settings of one cell into numbers. Cells
depend on nothing but their settings, so they can be computed in any order, kept, and
computed again.
"""
