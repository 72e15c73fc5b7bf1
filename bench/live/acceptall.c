/* Accepts every packet of one queue and does nothing else: what the queue itself allows. Usage: acceptall QUEUE */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MANY = 64, ROOM = 1024 };

struct head {
    struct nlmsghdr nl;
    struct nfgenmsg nf;
};

static int queue;
static int netlink;

/* One message of two attributes of the same size; the second may be missing. */
static void configure(unsigned short kind, const void *value, unsigned short size, unsigned short other)
{
    char message[128] = {0};
    struct head *head = (struct head *) message;
    char *at = message + sizeof *head;
    unsigned short kinds[2] = {kind, other};
    int i;
    for (i = 0; i < 2 && kinds[i]; i++, at += NLA_HDRLEN + NLA_ALIGN(size)) {
        ((struct nlattr *) at)->nla_len = NLA_HDRLEN + size;
        ((struct nlattr *) at)->nla_type = kinds[i];
        memcpy(at + NLA_HDRLEN, value, size);
    }
    head->nl.nlmsg_len = at - message;
    head->nl.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG;
    head->nl.nlmsg_flags = NLM_F_REQUEST;
    head->nf.res_id = htons(queue);
    if (send(netlink, message, head->nl.nlmsg_len, 0) < 0)
        perror("send"), exit(1);
}

int main(int count, char **words)
{
    static char buffers[MANY][ROOM];
    static struct mmsghdr messages[MANY];
    static struct iovec vectors[MANY];
    struct nfqnl_msg_config_cmd bind_it = {.command = NFQNL_CFG_CMD_BIND};
    struct nfqnl_msg_config_params copy = {.copy_range = htonl(128), .copy_mode = NFQNL_COPY_PACKET};
    unsigned length = htonl(4096), flags = htonl(NFQA_CFG_F_GSO);
    int buffer = 16 << 20, i, one = 1;
    queue = count > 1 ? atoi(words[1]) : 0;
    netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
    setsockopt(netlink, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    setsockopt(netlink, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof one);
    configure(NFQA_CFG_CMD, &bind_it, sizeof bind_it, 0);
    configure(NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length, 0);
    configure(NFQA_CFG_FLAGS, &flags, sizeof flags, NFQA_CFG_MASK);
    configure(NFQA_CFG_PARAMS, &copy, sizeof copy, 0);
    for (i = 0; i < MANY; i++) {
        vectors[i] = (struct iovec) {buffers[i], ROOM};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int came = recvmmsg(netlink, messages, MANY, MSG_WAITFORONE, NULL);
        unsigned last = 0, named = 0;
        for (i = 0; i < came; i++) {
            struct head *head = (struct head *) buffers[i];
            struct nlattr *attribute = (struct nlattr *) (head + 1);
            if (head->nl.nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
                continue;
            while ((char *) attribute < buffers[i] + messages[i].msg_len && attribute->nla_type != NFQA_PACKET_HDR)
                attribute = (struct nlattr *) ((char *) attribute + NLA_ALIGN(attribute->nla_len));
            last = ((struct nfqnl_msg_packet_hdr *) (attribute + 1))->packet_id;
            named = 1;
        }
        if (named) {
            struct {
                struct head head;
                struct nlattr attribute;
                struct nfqnl_msg_verdict_hdr verdict;
            } answer = {0};
            answer.head.nl.nlmsg_len = sizeof answer;
            answer.head.nl.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT_BATCH;
            answer.head.nl.nlmsg_flags = NLM_F_REQUEST;
            answer.head.nf.res_id = htons(queue);
            answer.attribute.nla_len = NLA_HDRLEN + sizeof answer.verdict;
            answer.attribute.nla_type = NFQA_VERDICT_HDR;
            answer.verdict.verdict = htonl(1);
            answer.verdict.id = last;
            send(netlink, &answer, sizeof answer, 0);
        }
    }
}
