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
# ## The runs
#
# These runs are what the verdicts rest on. Each was made once, and its file names the commit.

# %%
from recon.results import claims, store, tables

runs = store.reference_runs()
tables.references(runs)

# %% [markdown]
# ## PC-RNN, accelerated MRI
#
# The claims of {cite:t}`chen2022` about tables I to VII. Each single number of the tables is a claim
# too, counted below them.

# %% tags=["nbval-check-output"]
paper = claims.load("chen-2022")
tables.scoreboard(paper, store.frame(runs))

# %% [markdown]
# ### The same claims on a real head
#
# The claims about brains (tables V and VI) that speak of an order, asked once more where the
# simulation ends: one healthy adult's T1-weighted head {cite:p}`hanke2014`, behind simulated coils and under other masks
# than any training saw. One head in slabs tells how the methods fare on real anatomy, not how people
# differ.

# %% tags=["nbval-check-output"]
on_the_head = claims.elsewhere(paper, "brain_multicoil", "studyforrest_t1", ("all", "T1"))
tables.verdicts(on_the_head, store.frame(runs))

# %% [markdown]
# ## Its replication
#
# The claims of {cite:t}`devoto2020`; {doc}`replication` tests them in the small.

# %% tags=["nbval-check-output"]
replication = claims.load("devoto-2020")
tables.scoreboard(replication, store.frame(runs))

# %% [markdown]
# ## CARN, super-resolution
#
# The claims of {cite:t}`stoian2020`; {doc}`carn` tests them in the small.

# %% tags=["nbval-check-output"]
carn = claims.load("stoian-2020")
tables.scoreboard(carn, store.frame(runs))

# %% [markdown]
# ## Crop-equivariant networks, super-resolution in tiles
#
# The claims of {cite:t}`remedios2022`; {doc}`crop_equivariance` and {doc}`ablation_padded_vs_valid` test
# them in the small. Whether tiles fit exactly does not depend on how long a network was trained; how
# accurate it is does.

# %% tags=["nbval-check-output"]
tiles = claims.load("remedios-2022")
tables.scoreboard(tiles, store.frame(runs))

# %% [markdown]
# ## HDcycleGAN, denoising of OCT
#
# The claims of {cite:t}`manakov2019`; {doc}`hdcyclegan` tests them in the small. "5x" is the ratio of the
# averaged frames, 60 over 12. Claims about *our variant* ask the same of a model with another
# normalisation, which is not the paper's.

# %% tags=["nbval-check-output"]
translator = claims.load("manakov-2019")
tables.scoreboard(translator, store.frame(runs))

# %% [markdown]
# ## How a verdict is reached
#
# A difference between two methods counts when its 95 % bootstrap interval over volumes lies above
# zero and Wilcoxon's signed-rank test on volumes goes below 0.05, or below the level that the paper
# states. Both are asked because a bootstrap interval of few volumes is too narrow. A ranking is tested
# neighbour by neighbour, and for every further pair that a run compares. A single value counts when the
# measured interval comes within a stated tolerance of it, on the same data only.
# Of several runs the best data decide (the paper's before a stand-in, long training before short),
# and of equals the worst. The rules are these:

# %%
from IPython.display import Markdown

from recon.results import verdicts

Markdown("\n".join(line for line in (verdicts.__doc__ or "").splitlines()[2:]))
