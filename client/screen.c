#define _GNU_SOURCE
#define NCURSES_WIDECHAR 1
#include "client/screen.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <term.h>
#include <unistd.h>

#include "client/progress.h"

#define MS 1000000

/* What goes through the pipe, a byte each. Signals come on any thread, and ncurses is for
 * one: all of them, and the news of other threads, are looked at in screen_wait(). */
enum { NEWS = 'n', SIZE = 's', INTERRUPT = 'i', TERMINATE = 't', SUSPEND = 'z' };

static int pipe_fds[2] = {-1, -1};
static volatile sig_atomic_t died_of;
static SCREEN *screen; /* NULL: not open */
static bool coloured, utf8;

static void
put_byte(char c)
{
    int saved = errno;

    (void)!write(pipe_fds[1], &c, 1); /* full: something is waiting already */
    errno = saved;
}

static void
on_signal(int sig)
{
    if (sig == SIGWINCH) {
        put_byte(SIZE);
    } else if (sig == SIGTSTP) {
        put_byte(SUSPEND);
    } else {
        died_of = sig;
        put_byte(TERMINATE);
    }
}

static void
catch_signals(void)
{
    static const int signals[] = {SIGWINCH, SIGTERM, SIGHUP, SIGTSTP};
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    (void)sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        (void)sigaction(signals[i], &sa, NULL);
}

static void
set_colours(void)
{
    static const short pairs[] = {[RED] = COLOR_RED,
                                  [GREEN] = COLOR_GREEN,
                                  [YELLOW] = COLOR_YELLOW,
                                  [BLUE] = COLOR_BLUE};
    const char *no = getenv("NO_COLOR");

    coloured = (no == NULL || *no == '\0') && has_colors() && start_color() != ERR;
    if (!coloured)
        return;
    (void)use_default_colors();
    for (int i = RED; i <= BLUE; i++)
        (void)init_pair((short)i, pairs[i], -1);
}

int
screen_open(const char **ret_why)
{
    const char *term = getenv("TERM");
    int known = 0;
    bool able;

    *ret_why = "the terminal is of no kind that is known here ($TERM)";
    if (term == NULL || setupterm(term, STDOUT_FILENO, &known) == ERR)
        return -1;
    *ret_why = "the terminal cannot move its cursor";
    able = tigetstr("cup") != NULL && tigetstr("clear") != NULL;
    (void)del_curterm(cur_term); /* newterm() makes one of its own */
    if (!able)
        return -1;
    *ret_why = "out of memory";
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    (void)setlocale(LC_CTYPE, "");
    utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    screen = newterm(NULL, stdout, stdin);
    if (screen == NULL)
        return -1;
    (void)raw(); /* Ctrl-C and Ctrl-Z come as keys */
    (void)noecho();
    (void)nonl();
    (void)keypad(stdscr, TRUE);
    (void)nodelay(stdscr, TRUE);
    (void)curs_set(0);
    set_colours();
    catch_signals();
    interrupt_to(pipe_fds[1], INTERRUPT);
    return 0;
}

void
screen_close(void)
{
    if (screen == NULL)
        return;
    (void)endwin();
    delscreen(screen);
    screen = NULL;
}

void
screen_die(void)
{
    int sig = died_of != 0 ? died_of : SIGHUP;

    (void)signal(sig, SIG_DFL);
    (void)kill(getpid(), sig);
    _exit(128 + sig);
}

void
screen_size(size_t *ret_columns, size_t *ret_rows)
{
    *ret_columns = (size_t)COLS;
    *ret_rows = (size_t)LINES;
}

void
screen_wake(void)
{
    put_byte(NEWS);
}

/* --- drawing ---------------------------------------------------------------------------- */

static attr_t
attribute(enum colour c)
{
    if (c == BOLD)
        return A_BOLD;
    if (c == DIM)
        return A_DIM;
    return coloured && c != PLAIN ? (attr_t)COLOR_PAIR(c) : A_NORMAL;
}

/* n bytes; without UTF-8 what is not ASCII becomes '?'. */
static void
add(const char *s, size_t n)
{
    if (utf8) {
        (void)addnstr(s, (int)n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c < 0x80)
            (void)addch(c);
        else if (c >= 0xc0) /* the first byte of a character */
            (void)addch('?');
    }
}

static void
draw_line(int row, const struct page_line *l)
{
    size_t width, len, at = 0;

    (void)move(row, 0);
    (void)attrset(A_NORMAL);
    len = l->len > 0 ? page_fit(l->text, l->len, (size_t)COLS, &width) : 0;
    for (size_t k = 0; k < l->n_marks && l->marks[k].at < len; k++) {
        add(l->text + at, l->marks[k].at - at);
        at = l->marks[k].at;
        (void)attrset(attribute(l->marks[k].colour));
    }
    if (len > at)
        add(l->text + at, len - at);
    (void)attrset(A_NORMAL);
}

void
screen_draw(const struct page *p)
{
    (void)erase();
    for (size_t i = 0; i < p->n && i < (size_t)LINES; i++)
        draw_line((int)i, &p->v[i]);
    (void)refresh();
}

/* --- waiting ---------------------------------------------------------------------------- */

static void
resize(void)
{
    struct winsize ws;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row > 0 && ws.ws_col > 0)
        (void)resizeterm(ws.ws_row, ws.ws_col);
    (void)clearok(curscr, TRUE);
}

/* Until somebody says fg. */
static void
suspend(void)
{
    (void)endwin();
    (void)kill(getpid(), SIGSTOP);
    resize();
    (void)refresh();
}

static enum screen_event
from_pipe(void)
{
    char c;

    if (read(pipe_fds[0], &c, 1) != 1)
        return SCREEN_TIME;
    switch (c) {
    case NEWS:
        return SCREEN_NEWS;
    case SIZE:
        resize();
        return SCREEN_SIZE;
    case SUSPEND:
        suspend();
        return SCREEN_SIZE;
    case INTERRUPT:
        return SCREEN_QUIT;
    default:
        return SCREEN_TERM;
    }
}

static enum screen_event
from_keyboard(void)
{
    switch (getch()) {
    case ERR:
        return SCREEN_TIME;
    case 'q':
    case 'Q':
    case 'c' & 0x1f:
        return SCREEN_QUIT;
    case 'z' & 0x1f:
        suspend();
        return SCREEN_SIZE;
    case 'l' & 0x1f:
        (void)clearok(curscr, TRUE);
        return SCREEN_SIZE;
    case KEY_RESIZE:
        return SCREEN_SIZE;
    case KEY_UP:
    case 'k':
        return SCREEN_UP;
    case KEY_DOWN:
    case 'j':
        return SCREEN_DOWN;
    case KEY_PPAGE:
        return SCREEN_PAGE_UP;
    case KEY_NPAGE:
        return SCREEN_PAGE_DOWN;
    case KEY_HOME:
    case 'g':
        return SCREEN_HOME;
    default:
        return SCREEN_KEY;
    }
}

enum screen_event
screen_wait(int64_t timeout_ns)
{
    struct pollfd fds[2] = {{.fd = pipe_fds[0], .events = POLLIN},
                            {.fd = STDIN_FILENO, .events = POLLIN}};
    int ms = timeout_ns > 0 ? (int)((timeout_ns + MS - 1) / MS) : 0;

    if (isatty(STDIN_FILENO) != 1)
        fds[1].fd = -1; /* no keyboard */
    if (poll(fds, 2, ms) <= 0)
        return SCREEN_TIME;
    if (fds[0].revents != 0)
        return from_pipe();
    if (fds[1].revents & (POLLHUP | POLLERR | POLLNVAL))
        return SCREEN_TERM;
    return from_keyboard();
}
