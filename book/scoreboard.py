# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scoreboard: what held, and what did not
#
# Every claim of a paper is written down once, in `book/claims`, with the rows that test it and a
# rule. The verdicts below were computed from the reference runs in `book/results`; nobody typed
# them. They mean:
#
# - **reproduced**: every comparison of the claim holds;
# - **partly**: some hold, or point the right way but not as surely as they should;
# - **undecided**: none holds and none fails: what was measured is too little to tell;
# - **not reproduced**: none holds, and at least one goes against the claim;
# - **not testable on this data**: no run can say, and the reason is given.
#
# A chapter's own page judges its own run, often a short one; here the longest runs decide. So the two
# may differ.
#
# ```{admonition} What simulated data can say
# :class: warning
# The last column names the data. On simulated data a claim about an *order* (this method beats
# that one) can be tested in the small; a claim about an *absolute score* cannot, and stays
# untestable until somebody stores a run on the paper's own data.
# ```

# %% [markdown]
# ## In one table
#
# Claims by verdict, a line a paper; the numbers of the papers' tables, which only their own data could
# give again, are left out here and counted with their paper below.

# %% tags=["nbval-check-output"]
from recon.results import claims, store, tables, verdicts
from recon.results.html import html_table

runs = store.reference_runs()
measured = store.frame(runs)
PAPERS = {"chen-2022": "PC-RNN", "devoto-2020": "Its replication"}
PAPERS |= {"stoian-2020": "CARN", "remedios-2022": "Crop-equivariance"}
PAPERS |= {"manakov-2019": "HDcycleGAN"}
papers = {name: claims.load(name) for name in PAPERS}
lines = []
for name, paper in papers.items():
    spoken = [v for v in verdicts.judge_all(paper, measured) if not v.claim.cell]
    lines.append([PAPERS[name], *verdicts.count(spoken).values()])
totals = [sum(column) for column in list(zip(*lines, strict=True))[1:]]
words = [word.capitalize() for word in verdicts.VERDICTS]
html_table("Claims by verdict", ["Paper", *words], [*lines, ["All", *totals]])

# %% [markdown]
# ## PC-RNN, accelerated MRI
#
# The claims of {cite:t}`chen2022` about tables I to VII. Each single number of the tables is a claim
# too, counted below them.

# %% tags=["nbval-check-output"]
tables.scoreboard(papers["chen-2022"], measured)

# %% [markdown]
# ### The same claims on a real head
#
# The claims about brains (tables V and VI) that speak of an order, asked once more where the
# simulation ends: one healthy adult's T1-weighted head {cite:p}`hanke2014`, behind simulated coils and under other masks
# than any training saw. One head in slabs shows how the methods fare on real anatomy, and cannot tell
# how people differ: the means stand below, and no verdict rests on them.

# %% tags=["nbval-check-output"]
on_the_head = claims.elsewhere(
    papers["chen-2022"], "brain_multicoil", "studyforrest_t1", ("all", "T1")
)
tables.verdicts(on_the_head, measured)

# %% [markdown]
# ## Its replication
#
# The claims of {cite:t}`devoto2020`; {doc}`replication` tests them in the small.

# %% tags=["nbval-check-output"]
tables.scoreboard(papers["devoto-2020"], measured)

# %% [markdown]
# ## CARN, super-resolution
#
# The claims of {cite:t}`stoian2020`; {doc}`carn` tests them in the small.

# %% tags=["nbval-check-output"]
tables.scoreboard(papers["stoian-2020"], measured)

# %% [markdown]
# ## Crop-equivariant networks, super-resolution in tiles
#
# The claims of {cite:t}`remedios2022`; {doc}`crop_equivariance` and {doc}`ablation_padded_vs_valid` test
# them in the small. Whether tiles fit exactly does not depend on how long a network was trained; how
# accurate it is does.

# %% tags=["nbval-check-output"]
tables.scoreboard(papers["remedios-2022"], measured)

# %% [markdown]
# ## HDcycleGAN, denoising of OCT
#
# The claims of {cite:t}`manakov2019`; {doc}`hdcyclegan` tests them in the small. "5x" is the ratio of the
# averaged frames, 60 over 12. Claims about *our variant* ask the same of a model with another
# normalisation, which is not the paper's.

# %% tags=["nbval-check-output"]
tables.scoreboard(papers["manakov-2019"], measured)

# %% [markdown]
# ## The runs
#
# These runs are what the verdicts rest on. Each was made once; its file names the commit, and holds hashes
# of its code, its parameters and the environment. `python -m recon stale --reference` compares the hashes
# with the code of now. A commit that the book's history does not have was lost with its machine before
# it could be joined; then the hashes say what the code was.

# %%
tables.references(runs)

# %% [markdown]
# ## How a verdict is reached
#
# A difference between two methods counts when its 95 % t interval over volumes lies above
# zero and Wilcoxon's signed-rank test on volumes goes below 0.05, or below the level that the paper
# states. Both are asked because the interval trusts differences to scatter symmetrically. Older runs
# hold percentile bootstrap intervals, which are too narrow over few volumes; they are read with the
# width of t intervals. Slabs of one head, masks of one scan and eyes of one patient are not
# independent, so differences over them decide nothing. A ranking is tested
# neighbour by neighbour, and for every further pair that a run compares. A single value counts when the
# measured interval comes within a stated tolerance of it, on the same data only.
# Of several runs the best data decide (the paper's before a stand-in, long training before short),
# and of equals the worst. The rules are these:

# %%
from IPython.display import Markdown

Markdown("\n".join(line for line in (verdicts.__doc__ or "").splitlines()[2:]))
