/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Locks of programs on files: see cfs_io_lock. */
#pragma once

#include <stdint.h>

/* Beside the number of the inode; see tree_locks.h for others of that kind. */
#define CFS_IO_LOCK_BYTES_BIT (UINT64_C(1) << 61)
#define CFS_IO_LOCK_FILE_BIT  (UINT64_C(1) << 60)
