"""Run every benchmark in turn and write its results; scripts that need ranks run under mpiexec."""

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
RANKS = 4
#: Collective scripts: each rank does its share.
OVER_RANKS = {"merge_over_ranks.py", "distributed_index.py"}
#: Scripts that measure nothing, and measurements that need many minutes and gigabytes, PyTorch, or a GPU. Run
#: the latter by hand.
LEFT_OUT = {
    "active_units.py",
    "attention_classifiers.py",
    "attention_models.py",
    "attention_tables.py",
    "cheap.py",
    "compare.py",
    "compressed_floats.py",
    "compressed_module.py",
    "context_sparsity.py",
    "cranfield.py",
    "debian.py",
    "dedup_formats.py",
    "dedup_large.py",
    "dedup_memory.py",
    "dedup_tables.py",
    "error_feedback.py",
    "federated_tables.py",
    "federation_tables.py",
    "feedback_tables.py",
    "figures.py",
    "fine_tune.py",
    "first_calls.py",
    "float_coders.py",
    "float_costs.py",
    "float_others.py",
    "float_tables.py",
    "float_weights.py",
    "gated_units.py",
    "gpu.py",
    "graph_tables.py",
    "grouped_queries.py",
    "importance_cache.py",
    "label_data.py",
    "label_hash.py",
    "label_tables.py",
    "learned_code_tables.py",
    "learned_index.py",
    "learned_index_codes.py",
    "learned_index_hash.py",
    "learned_index_others.py",
    "learned_index_partition.py",
    "learned_index_table.py",
    "markdown_parts.py",
    "measure.py",
    "minilm.py",
    "negative_sampling.py",
    "negative_sampling_tables.py",
    "neighbour_graph.py",
    "outlier_tables.py",
    "parameter_sharing.py",
    "parameter_sharing_clicks.py",
    "parameter_sharing_debian.py",
    "parameter_sharing_dense.py",
    "parameter_sharing_ids.py",
    "parameter_sharing_tables.py",
    "parameter_sharing_words.py",
    "parameter_tables.py",
    "race_attention.py",
    "race_tables.py",
    "run_all.py",
    "slide.py",
    "slide_over_ranks.py",
    "slide_tables.py",
    "small_models.py",
    "smollm.py",
    "sparse_all_reduce.py",
    "sparse_all_reduce_scale.py",
    "sparse_all_reduce_tables.py",
    "sparse_attention.py",
    "sampled_subspace.py",
    "sparsity_tables.py",
    "static_tables_data.py",
    "summary.py",
    "tables.py",
    "torch_race_attention.py",
    "term_statistics.py",
    "term_tables.py",
}


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    failed = []
    for script in sorted(FOLDER.glob("*.py")):
        if script.name in LEFT_OUT:
            continue
        command = [sys.executable, str(script)]
        if script.name in OVER_RANKS:
            command = [str(Path(sys.executable).with_name("mpiexec")), "-n", str(RANKS), *command]
        print(f"\n== {script.name}", flush=True)
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(script.name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
