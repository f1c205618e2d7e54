/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For cppcheck alone, which does not read system headers: the macros of uthash
 * and sys/queue.h that loops and assignments are made of.
 */
#define HASH_ITER(hh, head, el, tmp)                                           \
	for ((el) = (head), (tmp) = (head); (el); (el) = (tmp))
#define HASH_FIND(hh, head, key, bytes, out)                                   \
	((out) = found_in((head), (key), (bytes)))
#define DL_FOREACH(head, el) for ((el) = (head); (el); (el) = (el)->next)
#define DL_FOREACH_SAFE(head, el, tmp)                                         \
	for ((el) = (head), (tmp) = (head); (el); (el) = (tmp))
#define LIST_FOREACH(item, head, link)                                         \
	for ((item) = (head)->lh_first; (item); (item) = (item)->link.le_next)
#define TAILQ_FOREACH(item, head, link)                                        \
	for ((item) = (head)->tqh_first; (item); (item) = (item)->link.tqe_next)
