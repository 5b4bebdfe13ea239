"""Try SGD rates for learned masks on a network: python tools/choose_learning_rate.py conv2.

The paper's rates for these networks are not known to us (section 5), so each is chosen by
validation accuracy: of `RATES`, the one whose mean over the arms tried is highest after 10 epochs
of the cpu preset. The test split is not looked at. Leaves the record
``learning_rates-NETWORK-cpu`` (arms are ``source/values/scaling/rate``), which the chapter on
supermasks shows; ``catalogue.NETWORKS`` holds what was chosen.
"""

import math
import sys
import time

from dltlib import experiments, networks, paths, processor, records, supermasks

RATES = (10, 30, 100, 300, 1000)
ARMS = (("learned", "initial", "plain"), ("learned", "initial", "rescaled"))


def main(network_name: str) -> None:
    """Learn with every rate, print validation accuracies and write the record."""
    started = time.monotonic()
    plan = experiments.plan("learned_supermasks", network_name, "cpu", seeds=1, epochs=10)
    dataset = experiments.load_dataset(plan)
    network = networks.build(plan.network, dataset.input_shape, plan.width)
    rows = []
    for rate in RATES:
        settings = experiments.plan(
            "learned_supermasks", network_name, "cpu", epochs=plan.epochs, learning_rate=rate
        ).settings()
        learner = supermasks.Learner.of_variants(network, ARMS, [0] * len(ARMS))
        for epoch in range(plan.epochs):
            loss = learner.learn(dataset, settings, epoch)
        validation = learner.accuracy(dataset.validation)
        expected = sum(layer.flatten(1).sum(1) for layer in learner.probabilities())
        for index, arm in enumerate(ARMS):
            rows.append(
                {
                    "arm": "/".join([*arm, str(rate)]),
                    "seed": 0,
                    "round": plan.epochs,
                    "density": expected[index].item() / network.weight_count,
                    "validation_accuracy": validation[index].item(),
                    "test_accuracy": math.nan,  # not looked at
                    "training_loss": loss[index].item(),
                }
            )
        print(f"{network_name}, rate {rate}: validation {validation.tolist()}", flush=True)
    records.write(
        paths.records(),
        f"learning_rates-{network_name}-cpu",
        rows,
        plan.as_dict(),
        device=processor.describe(learner.values[0].device),
        seconds=round(time.monotonic() - started, 1),
        command=f"python tools/choose_learning_rate.py {network_name}",
    )


if __name__ == "__main__":
    main(sys.argv[1])
