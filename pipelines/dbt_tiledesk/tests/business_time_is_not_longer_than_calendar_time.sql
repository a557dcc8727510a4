select conversation_id
from {{ ref('tiledesk__conversations') }}
where first_reply_business_seconds > first_reply_seconds
    or first_resolution_business_seconds > first_resolution_seconds
    or full_resolution_business_seconds > full_resolution_seconds
