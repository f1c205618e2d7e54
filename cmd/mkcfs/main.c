/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mkcfs: makes a pool from devices, or a container in a pool. */
#include "mkcfs/mkcfs.h"

#include "base/bits.h"

#define POOL_OPTIONS "label size slice mirror shared"

static int run(struct cfs_cmd *cmd)
{
	if (cfs_cmd_has(cmd, "lun") || cfs_cmd_has(cmd, "tree"))
		return mkcfs_make_volume(cmd);
	return mkcfs_make_pool(cmd);
}

static const struct cfs_verb make = {
	.operands = "DEVICE...\n"
		    "POOL:NAME --lun SIZE|auto [--from IMAGE|-]\n"
		    "POOL:NAME --tree [--from ARCHIVE|DIR|-]",
	.help = "make a pool, or a container in it",
	.more = "A device that carries a label, another known signature or "
		"other data is refused without --force; with it, --yes is "
		"needed where nobody can be asked. A device that is in use is "
		"never taken.\n"
		"A container whose --from breaks off is not left behind.",
	.examples =
		"mkcfs --size 10G pool.img\n"
		"mkcfs -L lab --mirror /dev/sdb /dev/sdc\n"
		"mkcfs pool.img:vm0 --lun auto --from disk.raw\n"
		"zstdcat root.tar.zst | mkcfs pool.img:root --tree --from -",
	.opts = CFS_OPTS(
		{ .name = "label",
		  .letter = 'L',
		  .type = CFS_OPT_STRING,
		  .argument = "LABEL",
		  .help = "name of the pool" },
		{ .name = "size",
		  .type = CFS_OPT_SIZE,
		  .min = 1,
		  .help = "make or extend plain files to this size" },
		{ .name = "slice",
		  .type = CFS_OPT_SIZE,
		  .min = UINT64_C(1) << 20,
		  .max = UINT64_C(1) << 30,
		  .help = "size of a slice, a power of two; default: by the "
			  "size of the pool" },
		{ .name = "mirror", .help = "keep every block on two devices" },
		{ .name = "shared",
		  .help = "several hosts see the devices at the same time" },
		{ .name = "lun",
		  .type = CFS_OPT_SIZE,
		  .min = CFS_BLOCK_BYTES,
		  .max = MKCFS_LUN_BYTES_MAX,
		  .argument = "SIZE|auto",
		  .word = "auto",
		  .conflicts = "tree " POOL_OPTIONS,
		  .help = "a LUN of this size; auto: of the size of --from" },
		{ .name = "tree",
		  .conflicts = "lun " POOL_OPTIONS,
		  .help = "a directory tree" },
		{ .name = "from",
		  .type = CFS_OPT_STRING,
		  .needs = "lun tree",
		  .argument = "FILE|DIR|-",
		  .help = "fill it: a raw image for a LUN, an archive or a "
			  "directory for a tree; -: standard input" },
		{ .name = "limit",
		  .type = CFS_OPT_SIZE,
		  .needs = "lun tree",
		  .min = CFS_BLOCK_BYTES,
		  .help = "the container takes no more than this" }),
	.common = CFS_COMMON_WORK | CFS_COMMON_DESTROY | CFS_COMMON_FORCE,
	.min_operands = 1,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run,
};

static const struct cfs_verb *const verbs[] = { &make, NULL };

static const struct cfs_tool tool = {
	.name = "mkcfs",
	.help = "make a pool, or a container in it",
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return cfs_tool_main(&tool, argc, argv);
}
