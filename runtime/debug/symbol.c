#define _GNU_SOURCE
#include "runtime/debug/symbol.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/lck.h"
#include "runtime/debug/dump.h"
#include "runtime/debug/out.h"

#define MAX_OBJECTS 256
#define PATH_SIZE   256

/* Functions of one size class of table fit 32 bits: no object is larger than 4 GiB. */
struct entry {
    uint32_t value; /* as in the file: before relocation */
    uint32_t size;
    uint32_t name; /* offset in the string table */
    uint32_t rank; /* of names for one address: lower is better */
};

/* A mapped object and its functions by address. Immutable once published. */
struct table {
    size_t bytes; /* of this mapping */
    const char *strings;
    size_t strings_size;
    uint32_t n;
    struct entry v[];
};

struct object {
    /* Constant once counted in nobjects. */
    uintptr_t base;   /* load address minus link address */
    uintptr_t lo, hi; /* of its segments */
    char path[PATH_SIZE];
    const char *file; /* last part of path */
    const char *open; /* what to open */

    struct table
        *table; /* atomic; NULL until the first question, &no_table if it failed */
};

static struct object objects[MAX_OBJECTS];
static uint32_t nobjects; /* atomic: release by whoever fills in an object */
static uint32_t noting;   /* atomic: rt_symbol_init runs */
static struct table no_table;

/* --- reading an object ------------------------------------------------------------------- */

static bool
in_file(uint64_t off, uint64_t len, size_t size)
{
    return off <= size && len <= size - off;
}

/* The section to read: .symtab, or .dynsym in a stripped file. */
static const Elf64_Shdr *
find_symtab(const unsigned char *file, size_t size)
{
    const Elf64_Ehdr *eh = (const void *)file;
    const Elf64_Shdr *sh, *found = NULL;

    if (size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 ||
        eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_shentsize != sizeof(*sh) ||
        eh->e_shoff % _Alignof(Elf64_Shdr) != 0 ||
        !in_file(eh->e_shoff, (uint64_t)eh->e_shnum * sizeof(*sh), size))
        return NULL;
    sh = (const void *)(file + eh->e_shoff);
    for (unsigned i = 0; i < eh->e_shnum; i++) {
        if (sh[i].sh_type != SHT_SYMTAB && (sh[i].sh_type != SHT_DYNSYM || found != NULL))
            continue;
        if (sh[i].sh_link >= eh->e_shnum || sh[i].sh_entsize != sizeof(Elf64_Sym) ||
            sh[i].sh_offset % _Alignof(Elf64_Sym) != 0 ||
            !in_file(sh[i].sh_offset, sh[i].sh_size, size) ||
            !in_file(sh[sh[i].sh_link].sh_offset, sh[sh[i].sh_link].sh_size, size))
            continue;
        found = &sh[i];
        if (sh[i].sh_type == SHT_SYMTAB)
            break;
    }
    return found;
}

static bool
is_function(const Elf64_Sym *s, size_t strings_size)
{
    unsigned type = ELF64_ST_TYPE(s->st_info);

    return (type == STT_FUNC || type == STT_GNU_IFUNC) && s->st_shndx != SHN_UNDEF &&
           s->st_value != 0 && s->st_value <= UINT32_MAX && s->st_name < strings_size;
}

/* libc has up to ten names for a function: prefer the exported, with fewest underscores. */
static uint32_t
name_rank(const Elf64_Sym *s, const char *name)
{
    uint32_t bind = ELF64_ST_BIND(s->st_info) == STB_LOCAL ? 16 : 0;

    return bind + (uint32_t)strspn(name, "_");
}

static bool
entry_less(const struct entry *a, const struct entry *b)
{
    return a->value != b->value ? a->value < b->value : a->rank < b->rank;
}

/* Heapsort: qsort() may call malloc. */
static void
sift_down(struct entry *v, size_t i, size_t n)
{
    struct entry e = v[i];

    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && entry_less(&v[child], &v[child + 1]))
            child++;
        if (!entry_less(&e, &v[child]))
            break;
        v[i] = v[child];
    }
    v[i] = e;
}

static void
sort_entries(struct entry *v, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(v, i, n);
    while (n-- > 1) {
        struct entry last = v[n];

        v[n] = v[0];
        v[0] = last;
        sift_down(v, 0, n);
    }
}

/* Hand-written assembly may have no size: it reaches to the next symbol, and at most to the
 * end of its section. */
static uint32_t
function_size(const unsigned char *file, const Elf64_Sym *s)
{
    const Elf64_Ehdr *eh = (const void *)file;
    const Elf64_Shdr *sh = (const void *)(file + eh->e_shoff);
    uint64_t size = s->st_size;

    if (size == 0 && s->st_shndx < eh->e_shnum)
        size = sh[s->st_shndx].sh_addr + sh[s->st_shndx].sh_size - s->st_value;
    return size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
}

/* The index of a mapped file, in anonymous memory; NULL if it has none. */
static struct table *
index_file(const unsigned char *file, size_t size)
{
    const Elf64_Shdr *sec = find_symtab(file, size), *str;
    const Elf64_Sym *sym;
    size_t n, bytes;
    struct table *t;

    if (sec == NULL)
        return NULL;
    str =
        (const Elf64_Shdr *)(const void *)(file + ((const Elf64_Ehdr *)(const void *)file)
                                                      ->e_shoff) +
        sec->sh_link;
    n = sec->sh_size / sizeof(*sym);
    bytes = sizeof(*t) + n * sizeof(struct entry);
    t = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t == MAP_FAILED)
        return NULL;
    t->bytes = bytes;
    t->strings = (const char *)file + str->sh_offset;
    t->strings_size = str->sh_size;
    /* A table that does not end in NUL would let a name run out of the file. */
    if (t->strings_size == 0 || t->strings[t->strings_size - 1] != '\0') {
        (void)munmap(t, bytes);
        return NULL;
    }
    sym = (const void *)(file + sec->sh_offset);
    for (size_t i = 0; i < n; i++) {
        if (!is_function(&sym[i], t->strings_size))
            continue;
        t->v[t->n++] = (struct entry){
            .value = (uint32_t)sym[i].st_value,
            .size = function_size(file, &sym[i]),
            .name = sym[i].st_name,
            .rank = name_rank(&sym[i], t->strings + sym[i].st_name),
        };
    }
    sort_entries(t->v, t->n);
    return t;
}

/* Map o's file and index it. The mapping of the file stays: the names are in it. */
static void
load(struct object *o)
{
    struct table *t = NULL, *expected = NULL;
    void *file = MAP_FAILED;
    struct stat st;
    int fd, saved = errno;

    fd = open(o->open, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
        file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        (void)close(fd);
    if (file != MAP_FAILED)
        t = index_file(file, (size_t)st.st_size);
    /* Release pairs with the acquire in find: the table's content goes with it. */
    if (!__atomic_compare_exchange_n(&o->table, &expected, t != NULL ? t : &no_table,
                                     false, __ATOMIC_RELEASE, __ATOMIC_RELAXED) &&
        t != NULL) {
        (void)munmap(t, t->bytes);
        t = NULL;
    }
    if (t == NULL && file != MAP_FAILED)
        (void)munmap(file, (size_t)st.st_size);
    errno = saved;
}

/* --- the objects ------------------------------------------------------------------------- */

static bool
known(uintptr_t base, const char *path)
{
    for (uint32_t i = 0; i < nobjects; i++) {
        if (objects[i].base == base && strcmp(objects[i].path, path) == 0)
            return true;
    }
    return false;
}

static int
note_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    bool program = *(bool *)arg;
    struct object *o = &objects[nobjects];
    const char *slash;

    (void)size;
    *(bool *)arg = false; /* the first one is the program itself */
    if (nobjects == MAX_OBJECTS)
        return 1;
    o->lo = UINTPTR_MAX;
    o->hi = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const Elf64_Phdr *ph = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + ph->p_vaddr;

        if (ph->p_type != PT_LOAD)
            continue;
        o->lo = start < o->lo ? start : o->lo;
        o->hi = start + ph->p_memsz > o->hi ? start + ph->p_memsz : o->hi;
    }
    o->base = info->dlpi_addr;
    if (program) {
        ssize_t n = readlink("/proc/self/exe", o->path, PATH_SIZE - 1);

        o->path[n > 0 ? n : 0] = '\0';
        o->open = "/proc/self/exe"; /* right even if the file was replaced meanwhile */
    } else {
        size_t n = strnlen(info->dlpi_name, PATH_SIZE - 1);

        memcpy(o->path, info->dlpi_name, n);
        o->path[n] = '\0';
        o->open = o->path;
    }
    slash = strrchr(o->path, '/');
    o->file = slash != NULL ? slash + 1 : o->path;
    if (!known(o->base, o->path))
        __atomic_store_n(&nobjects, nobjects + 1, __ATOMIC_RELEASE);
    return 0;
}

void
rt_symbol_init(void)
{
    bool program = true;

    /* One at a time; a second caller does without. */
    if (__atomic_exchange_n(&noting, 1, __ATOMIC_ACQUIRE) != 0)
        return;
    (void)dl_iterate_phdr(note_object, &program);
    __atomic_store_n(&noting, 0, __ATOMIC_RELEASE);
}

/* So that go_symbol() answers before the runtime has started, too. */
__attribute__((constructor)) static void
note_at_start(void)
{
    rt_symbol_init();
}

/* --- questions ---------------------------------------------------------------------------- */

/* The function that holds value. Parts of a function may lie inside another's bounds, hence
 * the steps back. */
static const struct entry *
find_entry(const struct table *t, uintptr_t value)
{
    uint32_t lo = 0, hi = t->n;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (t->v[mid].value <= value)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (uint32_t i = lo, steps = 0; i > 0 && steps < 16; i--, steps++) {
        const struct entry *e = &t->v[i - 1];

        if (value - e->value < e->size) {
            while (e > t->v && e[-1].value == e->value)
                e--;
            return e;
        }
    }
    return NULL;
}

bool
rt_symbol_find(uintptr_t pc, struct rt_symbol *ret)
{
    *ret = (struct rt_symbol){.name = NULL};
    /* Newest first: an address may have belonged to an object that was closed since. */
    for (uint32_t i = __atomic_load_n(&nobjects, __ATOMIC_ACQUIRE); i-- > 0;) {
        struct object *o = &objects[i];
        const struct table *t;
        const struct entry *e;

        if (pc < o->lo || pc >= o->hi)
            continue;
        t = __atomic_load_n(&o->table, __ATOMIC_ACQUIRE);
        if (t == NULL) {
            load(o);
            t = __atomic_load_n(&o->table, __ATOMIC_ACQUIRE);
        }
        ret->object = o->file;
        ret->object_offset = pc - o->base;
        e = find_entry(t, pc - o->base);
        if (e != NULL) {
            ret->name = t->strings + e->name;
            ret->name_len = (int)strcspn(ret->name, ".");
            ret->offset = pc - o->base - e->value;
        }
        return true;
    }
    return false;
}

const char *
go_symbol(const void *pc, char *buf, size_t size)
{
    struct rt_symbol s;
    struct rt_out o;

    if (size == 0)
        return buf;
    rt_out_init(&o, -1);
    if (rt_symbol_find((uintptr_t)pc, &s) && s.name != NULL) {
        int len =
            s.name_len < (int)sizeof(o.buf) - 32 ? s.name_len : (int)sizeof(o.buf) - 32;

        rt_out_fmt(&o, "%.*s+0x%lx", len, s.name, (unsigned long)s.offset);
    } else {
        rt_out_fmt(&o, "%p", pc);
    }
    if (o.n > size - 1)
        o.n = size - 1;
    memcpy(buf, o.buf, o.n);
    buf[o.n] = '\0';
    return buf;
}
