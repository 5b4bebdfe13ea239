"""The kinds of experiment, one module each; `KINDS` has them by name.

`tickets` train, prune and train again; `criterion_masks` lay masks by criterion over untrained
weights; `learned_masks` learn them; `stopping_rules` read one training in several ways. A new kind
is a module like these that adds a `Kind`, and stands in the import below.
"""

from dltlib.kinds import criterion_masks, learned_masks, stopping_rules, tickets
from dltlib.kinds.kind import KINDS, Kind, Progress, Shard, unheard
