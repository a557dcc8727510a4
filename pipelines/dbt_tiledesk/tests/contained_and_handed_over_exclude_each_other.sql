select conversation_id
from {{ ref('tiledesk__conversations') }}
where (is_contained and is_handed_over) or (is_durably_contained and not is_contained)
