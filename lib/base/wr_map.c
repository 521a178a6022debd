/* SPDX-License-Identifier: MIT
 *
 * Linear probing with tombstones; grows at 3/4 full. The seed is drawn per process, so that a client that picks room
 * names cannot aim all of them at one chain. */
#include "wr_map.h"
#include "wr_id.h"

#include <stdlib.h>

struct wr_map_slot {
    void *value; /* NULL = free or dead */
    uint8_t *key;
    size_t key_n;
    uint64_t hash;
    bool dead;
};

static uint64_t seed;

uint64_t wr_hash(struct wr_slice key, uint64_t s)
{
    uint64_t h = 0xcbf29ce484222325u ^ s;
    for (size_t i = 0; i < key.n; i++)
        h = (h ^ key.p[i]) * 0x100000001b3u;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

__attribute__((constructor)) static void draw_seed(void)
{
    wr_random(&seed, sizeof seed);
}

void wr_map_free(struct wr_map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        free(m->slots[i].key);
    free(m->slots);
    *m = (struct wr_map){0};
}

static struct wr_map_slot *find(const struct wr_map *m, struct wr_slice key, uint64_t h)
{
    if (m->cap == 0)
        return NULL;
    for (size_t i = h & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct wr_map_slot *s = &m->slots[i];
        if (!s->value && !s->dead)
            return NULL;
        if (s->value && s->hash == h && s->key_n == key.n && memcmp(s->key, key.p, key.n) == 0)
            return s;
    }
}

static struct wr_map_slot *free_slot(struct wr_map_slot *slots, size_t cap, uint64_t h)
{
    size_t i = h & (cap - 1);
    while (slots[i].value)
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static bool grow(struct wr_map *m)
{
    size_t cap = m->cap ? m->cap : 8;
    while (m->used * 2 >= cap)
        cap *= 2;
    struct wr_map_slot *slots = calloc(cap, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].value)
            *free_slot(slots, cap, m->slots[i].hash) = m->slots[i];
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    m->dead = 0;
    return true;
}

void *wr_map_get(const struct wr_map *m, struct wr_slice key)
{
    struct wr_map_slot *s = find(m, key, wr_hash(key, seed));
    return s ? s->value : NULL;
}

bool wr_map_put(struct wr_map *m, struct wr_slice key, void *value)
{
    uint64_t h = wr_hash(key, seed);
    struct wr_map_slot *s = find(m, key, h);
    if (s) {
        s->value = value;
        return true;
    }
    if ((m->used + m->dead + 1) * 4 > m->cap * 3 && !grow(m))
        return false;
    uint8_t *copy = malloc(key.n ? key.n : 1);
    if (!copy)
        return false;
    if (key.n)
        memcpy(copy, key.p, key.n);
    s = free_slot(m->slots, m->cap, h);
    if (s->dead)
        m->dead--;
    *s = (struct wr_map_slot){.value = value, .key = copy, .key_n = key.n, .hash = h};
    m->used++;
    return true;
}

void *wr_map_del(struct wr_map *m, struct wr_slice key)
{
    struct wr_map_slot *s = find(m, key, wr_hash(key, seed));
    if (!s)
        return NULL;
    void *value = s->value;
    free(s->key);
    *s = (struct wr_map_slot){.dead = true};
    m->used--;
    m->dead++;
    return value;
}

bool wr_map_next(const struct wr_map *m, size_t *at, struct wr_slice *key, void **value)
{
    while (*at < m->cap) {
        const struct wr_map_slot *s = &m->slots[(*at)++];
        if (!s->value)
            continue;
        if (key)
            *key = wr_slice_of(s->key, s->key_n);
        if (value)
            *value = s->value;
        return true;
    }
    return false;
}
