"""The evidence: many whole runs of the transfer methods, and what they say.

    plan           cells, arms and seeds: which runs there are, in which order
    grid           runs them in several processes; keeps, resumes, shows progress
    one            the process of one run, and the small file that it leaves
    dissertation   the numbers beside which ours stand
    compare        intervals, tests and effect sizes
    tables         numbers as Markdown
    curves         learning curves as a figure
    page           puts tables into a page
    command        ``tinytl compare`` and ``tinytl evidence``

``tinytl compare`` makes the files, ``tinytl evidence`` reads them.
"""
