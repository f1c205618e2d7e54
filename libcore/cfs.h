/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library, as other programs see it: all that libcfs.so exports is
 * declared here or in what this includes (libcore/libcfs.map lists it).
 *
 *   session/session.h     open a pool, its volumes and snapshots; the bytes
 *                         of a LUN
 *   volume/fs.h           the calls of a tree, from cfs_io_fs
 *   session/import.h      archives and directories into trees, and
 *   session/export.h      out of them
 *   session/transfer.h    copies between trees, LUNs and files
 *   base/err.h            how errors are told
 *
 * A pool that another process holds is used through that one, without a word
 * about it here.  See contrib/example for a program, and cfs(7) for the words.
 * What pkg-config prints for "cfs" is all that is needed to build.
 */
#pragma once

#include "session/export.h"
#include "session/import.h"
#include "session/session.h"
#include "session/transfer.h"
#include "volume/fs.h"
