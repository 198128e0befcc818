/* te_main.c - the firmware: one model, one session, one link. */
#include "te_port.h"
#include "te_session.h"

int main(void)
{
    static te_session session;
    te_port_init();
    te_session_model.init();
    te_session_init(&session, &te_session_model);
    te_session_run(&session);
    return 0;
}
