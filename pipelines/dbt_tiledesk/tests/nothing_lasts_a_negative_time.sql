select conversation_id
from {{ ref('tiledesk__conversations') }}
where least(
    first_reply_seconds, first_resolution_seconds, full_resolution_seconds, open_seconds, handle_seconds,
    customer_wait_seconds, first_reply_after_handover_seconds
) < 0
