/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the modes of cfscp share: pools and volumes, each opened once however
 * often they are named, and operands, of which it is known where they lead.
 */
#pragma once

#include "base/vec.h"
#include "common/cmd.h"
#include "session/export.h"
#include "session/session.h"
#include "session/transfer.h"
#include "volume/fs.h"

struct cp_pool {
	char *name; /* as it was written first */
	uint8_t uuid[16];
	bool has_uuid;
	bool is_writable;
	struct cfs_session *session; /* NULL: not opened yet */
};

struct cp_volume {
	size_t pool;         /* index */
	char *volume, *snap; /* snap may be NULL */
	bool is_writable;
	struct cfs_io_volume *io;
};

enum cp_kind {
	CP_STDIO,
	CP_HOST, /* a path of the host */
	CP_LUN,
	CP_TREE, /* a path in a tree */
};

struct cp_operand {
	const char *text;
	enum cp_kind kind;
	struct cfs_name name;     /* LUN, TREE */
	size_t pool;              /* index */
	struct cfs_io_volume *io; /* LUN, TREE: when opened */
	const char *path;         /* of the host, or in the tree */
	char *decoded;            /* of a URI; NULL */
};

/* A range that was damaged, and is zeroes in the copy. */
struct cp_damage {
	const struct cp_operand *source;
	char *object; /* "POOL:VOLUME..." */
	uint64_t offset_bytes, length_bytes;
};

/* What one source became. */
struct cp_outcome {
	const struct cp_operand *source;
	bool is_bytes;
	struct cfs_transfer_result entries;
	struct cfs_bytes_result bytes;
};

struct cp {
	struct cfs_cmd *cmd;
	CFS_VEC(struct cp_pool) pools;
	CFS_VEC(struct cp_volume) volumes;
	struct cp_operand *operands;
	size_t operand_count;
	/* Of the copy under way, for its reports. */
	const struct cp_operand *source;
	const char *prefix; /* what paths begin with */
	CFS_VEC(struct cp_damage) damages;
	size_t told_damages; /* of them, were printed */
	CFS_VEC(struct cp_outcome) outcomes;
};

/*
 * Read all operands and find their pools; @dst_index is the operand that is
 * written to (SIZE_MAX: none).  @all_volumes: host files are misuse.
 */
int cp_init(struct cp *cp, struct cfs_cmd *cmd, size_t dst_index,
	    bool all_volumes);
void cp_donep(struct cp *cp);
/* Commit all; what @r is stays unless it is 0. */
int cp_close(struct cp *cp, int r);

/* Open the volume of a LUN or tree operand, and settle which it is. */
int cp_open(struct cp *cp, struct cp_operand *op, bool is_writable);

/* The object of an operand of a tree: "POOL:VOLUME:" and a path; malloc'd. */
char *cp_tree_object(const struct cp_operand *op, const char *path);

/* Options with the callbacks; the source is cp->source. */
struct cfs_transfer_options cp_options(struct cp *cp);

/* If it is damage of the source that @err names, add what can be done. */
void cp_hint_damage(const struct cp *cp, struct cfs_err *err);

/* A line for each range of damage that is new. */
void cp_tell_damage(struct cp *cp);

/* "POOL:VOL:/dir/name", for messages about what is below cp->source. */
char *cp_object_below(const struct cp *cp, const char *path);

/* ------------------------------------------------------- destinations */

/* A directory that is there, and what the copy is called in it. */
struct cp_place {
	char *name;           /* "": its content goes into it */
	bool is_there;        /* something of this name */
	bool is_special;      /* a device or fifo of the host */
	bool wants_directory; /* DST ends with '/' and is none */
	int dir_fd;           /* host; else -1 */
	uint64_t dir_ino;     /* tree */
	uint64_t ino;         /* tree: of what is there */
	struct cfs_inode inode;
	uint32_t mode, uid, gid; /* of what is there */
};

/*
 * Where @dst puts something called @base ("" : the content of a directory).
 * @must_be_directory: several sources.  Names @dst in cmd->err.
 */
int cp_place_host(struct cp *cp, const struct cp_operand *dst, const char *base,
		  bool must_be_directory, struct cp_place *ret);
int cp_place_tree(struct cp *cp, const struct cp_operand *dst, const char *base,
		  bool must_be_directory, struct cp_place *ret);
void cp_place_donep(struct cp_place *place);

/* -ENOTDIR if @place takes directories only; names @dst. */
int cp_place_check_file(struct cp *cp, const struct cp_operand *dst,
			const struct cp_place *place);

/* The last name of a path, "" of "/" , "." and ".."; malloc'd. */
char *cp_base_name(const char *path);
/* The name that a LUN or tree operand has as a file; malloc'd. */
char *cp_operand_base(const struct cp_operand *op);

/* A regular file of the host that appears when it is complete. */
struct cp_host_file {
	const struct cp_place *place;
	int fd;
	char temp[48]; /* empty: it has no name yet */
};
int cp_host_file_open(struct cp_host_file *f, const struct cp_place *place,
		      struct cfs_err *err);
/* Give it its name if @r is 0, else drop it.  Returns @r, or what failed. */
int cp_host_file_close(struct cp_host_file *f, int r, struct cfs_err *err);

/* -------------------------------------------------------------- copies */

/* One source to @dst; reports go to cmd->err, or were made already (0). */
int cp_copy_bytes(struct cp *cp, struct cp_operand *src, struct cp_operand *dst,
		  bool must_be_directory);
int cp_copy_entries(struct cp *cp, struct cp_operand *src,
		    struct cp_operand *dst, bool must_be_directory);

int cp_run_copy(struct cfs_cmd *cmd);
int cp_run_archive(struct cfs_cmd *cmd);
int cp_run_extract(struct cfs_cmd *cmd);
int cp_run_list(struct cfs_cmd *cmd);
int cp_run_mkdir(struct cfs_cmd *cmd);
int cp_run_remove(struct cfs_cmd *cmd);

/* Keep what a copy did, for the document. */
int cp_add_outcome(struct cp *cp, const struct cp_outcome *outcome);
/* The document: "copies" and "damaged"; and in a dry run the plan as text. */
void cp_put_outcomes(struct cp *cp, const char *dst);
